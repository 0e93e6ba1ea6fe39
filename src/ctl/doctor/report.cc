#include "ctl/doctor/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "ctl/table.h"

namespace ringbolt::ctl::doctor {

namespace json = boost::json;

namespace {

constexpr size_t kFoundColumn = 30;
constexpr size_t kRemedyColumn = 11;
constexpr size_t kStateColumns = 9;

std::string coloured(State state, const std::string& text) {
  switch (state) {
    case State::kOk: return "\x1b[32m" + text + "\x1b[0m";
    case State::kWarning: return "\x1b[33m" + text + "\x1b[0m";
    case State::kProblem: return "\x1b[31m" + text + "\x1b[0m";
    case State::kUnknown: return "\x1b[36m" + text + "\x1b[0m";
  }
  return text;
}

size_t count_of(const Findings& findings, State state) {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(), [state](const Finding& one) { return one.state == state; }));
}

std::string finding_text(const Finding& finding, bool colour) {
  std::string label = finding.check;
  std::replace(label.begin(), label.end(), '_', ' ');
  const std::string state = to_string(finding.state);
  std::string text = paragraph(fmt::format("  {:<{}}{}", state, kStateColumns, label), finding.found, kFoundColumn);
  if (colour) text = "  " + coloured(finding.state, state) + text.substr(2 + state.size());
  if (!finding.remedy.empty()) text += paragraph(fmt::format("{:>{}}", "-> ", kRemedyColumn + 3), finding.remedy, kRemedyColumn + 3);
  return text;
}

std::string counted(size_t count, const char* one, const char* many) { return fmt::format("{} {}", count, count == 1 ? one : many); }

}  // namespace

bool has_problem(const Findings& findings) { return count_of(findings, State::kProblem) > 0; }

std::string report_text(const Findings& findings, bool colour) {
  std::vector<std::string> subjects;
  for (const Finding& finding : findings) {
    if (std::find(subjects.begin(), subjects.end(), finding.subject) == subjects.end()) subjects.push_back(finding.subject);
  }
  std::string text;
  for (const std::string& subject : subjects) {
    text += paragraph("", subject, 0);
    for (const Finding& finding : findings) {
      if (finding.subject == subject) text += finding_text(finding, colour);
    }
  }
  return text + fmt::format("\n{}, {}, {}, {} unknown\n", counted(count_of(findings, State::kProblem), "problem", "problems"),
                            counted(count_of(findings, State::kWarning), "warning", "warnings"), fmt::format("{} ok", count_of(findings, State::kOk)),
                            count_of(findings, State::kUnknown));
}

std::string report_json(const Findings& findings) {
  json::array list;
  for (const Finding& finding : findings) {
    json::object one{{"subject", finding.subject}, {"check", finding.check}, {"state", to_string(finding.state)}, {"found", finding.found}};
    one["remedy"] = finding.remedy.empty() ? json::value(nullptr) : json::value(finding.remedy);
    list.push_back(std::move(one));
  }
  const json::object report{{"problems", count_of(findings, State::kProblem)},
                            {"warnings", count_of(findings, State::kWarning)},
                            {"ok", count_of(findings, State::kOk)},
                            {"unknown", count_of(findings, State::kUnknown)},
                            {"findings", std::move(list)}};
  return json::serialize(report) + "\n";
}

}  // namespace ringbolt::ctl::doctor
