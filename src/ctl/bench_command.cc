#include "ctl/bench_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>

#include "control/config_values.h"
#include "ctl/bench/disk_bench.h"
#include "ctl/bench/disk_target.h"
#include "ctl/bench/network_bench.h"
#include "ctl/bench/report.h"
#include "ctl/bench/volume_bench.h"
#include "ctl/volume_json.h"
#include "io/ring_io.h"

namespace ringbolt::ctl {

namespace {

using bench::Touch;

/// Where NBD is usually served, beside the admin API that is asked.
constexpr uint16_t kNbdPort = 10809;

struct BenchArguments {
  std::vector<std::string> targets;
  double seconds = 2;
  std::string size = "1GiB";
  bool overwrite = false, read_only = false;
  std::string nbd;  ///< empty: kNbdPort of the admin API's host

  [[nodiscard]] bench::Clock::duration time() const { return std::chrono::duration_cast<bench::Clock::duration>(std::chrono::duration<double>(seconds)); }
  [[nodiscard]] Touch touch() const { return overwrite ? Touch::kOverwrite : read_only ? Touch::kReadOnly : Touch::kNothingThatExists; }
};

/// A volume's name has no slash.
bool is_path(const std::string& target) { return target.find('/') != std::string::npos || target == "." || target == ".."; }

/// A volume that is to be measured, as the daemon describes it.
struct BenchVolume {
  std::string name;
  boost::json::value facts;
};

/// What was measured, told line by line unless it is to be JSON.
class BenchOutput {
 public:
  explicit BenchOutput(const Session& session) : session_(session) {}

  void tell(const bench::Measured& measured) {
    if (!session_.as_json) {
      if (measured_.empty()) session_.out << bench::title_line();
      session_.out << bench::measured_line(measured, measured_.empty() ? std::string() : measured_.back().target) << std::flush;
    }
    measured_.push_back(measured);
  }
  void leave_out(const std::string& target, const std::string& what, const std::string& why) { left_out_.push_back({target, what, why}); }

  int end() {
    session_.out << (session_.as_json ? bench::bench_json(measured_, left_out_) : bench::not_measured_lines(left_out_)) << std::flush;
    if (!session_.out) return fail(session_, kRefused, "the output could not be written");
    const auto failed = std::find_if(measured_.begin(), measured_.end(), [](const bench::Measured& one) { return !one.problem.empty(); });
    if (failed == measured_.end()) return kDone;
    return fail(session_, kRefused, fmt::format("{} could not be measured: {}", failed->target, failed->problem));
  }

 private:
  const Session& session_;
  std::vector<bench::Measured> measured_;
  std::vector<bench::NotMeasured> left_out_;
};

/// Everything that can be refused is refused before anything is measured.
class Bench {
 public:
  Bench(const Session& session, const BenchArguments& arguments) : session_(session), arguments_(arguments), output_(session) {}
  ~Bench() {
    for (auto& [path, target] : disks_) bench::close_disk_target(*io_, target);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  int run() {
    Result<std::unique_ptr<io::RingIo>> made = io::RingIo::create({.spin = 0});
    if (made.has_error()) return fail(session_, kRefused, made.error().message);
    io_ = std::move(made.value());
    for (const std::string& target : arguments_.targets) {
      const std::optional<int> refused = is_path(target) ? open_disk(target) : ask_volume(target);
      if (refused) return *refused;
    }
    const auto tell = [this](const bench::Measured& measured) { output_.tell(measured); };
    for (const auto& [path, target] : disks_) {
      bench::bench_disk(*io_, "disk " + path, target, arguments_.time(), tell);
      if (!target.may_write) output_.leave_out("disk " + path, "writes", "--read-only");
    }
    for (const BenchVolume& volume : volumes_) measure_replicas(volume, tell);
    for (const BenchVolume& volume : volumes_) measure_volume(volume, tell);
    return output_.end();
  }

 private:
  std::optional<int> open_disk(const std::string& path) {
    Result<bench::DiskTarget> target = bench::open_disk_target(*io_, path, arguments_.touch(), parse_size(arguments_.size).value());
    if (target.has_error()) return fail(session_, kRefused, target.error().message);
    disks_.emplace_back(path, target.value());
    return std::nullopt;
  }

  std::optional<int> ask_volume(const std::string& name) {
    Answer answer = ask(session_, {.target = volume_target(name)});
    if (answer.code != kDone) return fail(session_, answer.code, answer.why, "a path has a slash in it: ./" + name);
    const std::string role = text(answer.value, "role");
    if (role != "primary") {
      return fail(session_, kRefused, fmt::format("volume {} is {} here: only its primary serves clients", name, role), "ringboltctl --admin with the primary's address");
    }
    const uint64_t clients = number(answer.value, "clients").value_or(0);
    if (arguments_.overwrite && clients > 0) {
      return fail(session_, kRefused, fmt::format("volume {} is in use by {} client{}: nothing was written", name, clients, clients == 1 ? "" : "s"),
                  "without --overwrite only reads and flushes are measured");
    }
    volumes_.push_back({name, std::move(answer.value)});
    return std::nullopt;
  }

  template <class Tell>
  void measure_replicas(const BenchVolume& volume, const Tell& tell) {
    for (const boost::json::value& replica : elements(find(volume.facts, "replicas"))) {
      const std::string address = text(replica, "address");
      // Two volumes may have their replicas on the same node.
      if (std::find(measured_nodes_.begin(), measured_nodes_.end(), address) != measured_nodes_.end()) continue;
      measured_nodes_.push_back(address);
      bench::bench_network(*io_, fmt::format("network to {}, {}", text(replica, "id"), address), address, arguments_.time(), tell);
    }
  }

  template <class Tell>
  void measure_volume(const BenchVolume& volume, const Tell& tell) {
    const auto may = [&](bool writes) { return why_not(volume.name, writes); };
    bench::bench_volume(volume.name, nbd_address(), arguments_.overwrite, arguments_.time(), may, tell);
    if (!arguments_.overwrite) output_.leave_out("volume " + volume.name, "writes", "they would destroy what it holds; of a volume that holds nothing: --overwrite");
  }

  /// The NBD address may be another daemon's, whose volume of that name is not what was asked for: then this daemon's has one client
  /// less. And since it was asked first, clients may have come.
  [[nodiscard]] std::string why_not(const std::string& name, bool writes) const {
    const Answer answer = ask(session_, {.target = volume_target(name)});
    if (answer.code != kDone) return answer.why;
    const uint64_t clients = number(answer.value, "clients").value_or(0);
    if (clients == 0) {
      return fmt::format("the daemon at {} has no client on it, so {} is another daemon's NBD address: name the right one (--nbd)", session_.admin,
                         nbd_address().to_string());
    }
    if (writes && clients > 1) return fmt::format("it has {} other client{} now: nothing was written", clients - 1, clients == 2 ? "" : "s");
    return {};
  }

  [[nodiscard]] io::Address nbd_address() const {
    if (!arguments_.nbd.empty()) return io::parse_address(arguments_.nbd).value();
    io::Address address = parse_host_port(session_.admin).value();
    address.port = kNbdPort;
    return address;
  }

  const Session& session_;
  const BenchArguments& arguments_;
  BenchOutput output_;
  std::unique_ptr<io::RingIo> io_;
  std::vector<std::pair<std::string, bench::DiskTarget>> disks_;
  std::vector<BenchVolume> volumes_;
  std::vector<std::string> measured_nodes_;
};

std::string check_nbd(const std::string& text) {
  const Status status = check_listen_address(text, true);
  return status.has_error() ? status.error().message : std::string();
}

std::string check_size(const std::string& text) {
  const Result<uint64_t> size = parse_size(text);
  return size.has_error() ? size.error().message : std::string();
}

}  // namespace

void add_bench(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("bench", "measure disks, the way to replicas, and volumes as clients have them");
  auto arguments = std::make_shared<BenchArguments>();
  command->add_option("TARGET", arguments->targets, "a volume's name, or a directory, file or device, which has a slash in it; any number")->required()->type_name("");
  command->add_option("--seconds", arguments->seconds, "how long each line is measured")->check(CLI::Range(0.05, 60.0))->capture_default_str();
  command->add_option("--size", arguments->size, "of the file that is made in a directory; at most a quarter of the free space")
      ->check(CLI::Validator(check_size, "SIZE", "size"))
      ->capture_default_str();
  CLI::Option* overwrite = command->add_flag("--overwrite", arguments->overwrite, "write over files, devices and volumes, too: DESTROYS WHAT THEY HOLD");
  command->add_flag("--read-only", arguments->read_only, "of a file or device that exists measure reads alone")->excludes(overwrite);
  command->add_option("--nbd", arguments->nbd, "where the daemon serves NBD; not given: port 10809 of the admin API's host")
      ->check(CLI::Validator(check_nbd, "ADDRESS", "address"));
  command->callback([&session, arguments] {
    session.action = [&session, arguments] { return Bench(session, *arguments).run(); };
  });
}

}  // namespace ringbolt::ctl
