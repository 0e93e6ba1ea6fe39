#include "ctl/doctor/doctor.h"

#include <fmt/format.h>

#include <set>

#include "control/config_values.h"
#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"

namespace ringbolt::ctl::doctor {

namespace {

/// One examination: the host, what is asked of it, what was found so far.
class Examination {
 public:
  Examination(const Host& host, const Question& question) : host_(host), question_(question) {}

  Findings run() {
    read_config();
    process_.daemon_pid = daemon_pid(host_.files, config_.value_or(Config{}));
    examine_daemon();
    examine_host();
    examine_paths();
    return std::move(findings_);
  }

 private:
  void read_config() {
    if (question_.config_path.empty()) {
      add_unknown(findings_, "configuration", "config",
                  make_error(Errc::kNotFound, fmt::format("none was named (--config), and there is no {}: defaults are compared with", kUsualConfig)));
      return;
    }
    Result<Config> config = load_config(question_.config_path);
    if (config.has_error()) {
      findings_.push_back({"configuration", "config", State::kProblem, config.error().message, "man ringbolt.toml has the keys; ringboltd --check says the same"});
      return;
    }
    config_ = std::move(config.value());
    add_ok(findings_, "configuration", "config",
           fmt::format("{}: node {}, {} volume{}", question_.config_path, config_->node_id, config_->volumes.size(), config_->volumes.size() == 1 ? "" : "s"));
  }

  void examine_daemon() {
    if (config_) check_ports(host_.files, *config_, findings_);
    const NodeAnswer answer = host_.node(config_ ? std::optional(config_->admin_listen) : std::nullopt);
    check_daemon(answer, config_ ? config_->node_id : std::string(), config_ && process_.daemon_pid.has_value(), findings_);
  }

  void examine_host() {
    const Config config = config_.value_or(Config{});
    const Needs needs{config.memory_bytes, config.shards, config.nbd_connections_max, config.volumes.size()};
    check_kernel(host_.files, findings_);
    const Status io_uring = host_.io_uring();
    check_io_uring(host_.files, io_uring, findings_);
    // The daemon has locked its buffers: a second time they may not fit.
    std::optional<Status> tried;
    if (!process_.daemon_pid && io_uring.has_value()) tried = host_.lockable(needs.memory_bytes);
    check_locked_memory(host_.files, process_, needs, tried, findings_);
    check_memory(host_.files, process_, needs, findings_);
    check_swap(host_.files, findings_);
    check_open_files(host_.files, process_, needs, findings_);
    check_processors(host_.files, process_, needs, findings_);
    check_governor(host_.files, findings_);
    check_clock_source(host_.files, findings_);
    check_time(clock_state(), findings_);
    check_congestion_control(host_.files, findings_);
  }

  void examine_paths() {
    std::vector<FileNeed> needs;
    if (config_) {
      for (const VolumeConfig& volume : config_->volumes) {
        const std::string directory = config_->data_dir + "/volumes/" + volume.name;
        needs.push_back({examine_path(volume.path.empty() ? directory + "/base" : volume.path), volume.size_bytes, false});
        needs.push_back({examine_path(volume.wal_path.empty() ? directory + "/wal" : volume.wal_path), volume.wal_bytes, true});
      }
      static_cast<void>(examine_path(config_->data_dir));
    }
    for (const std::string& path : question_.paths) {
      const PathFacts facts = examine_path(path);
      if (facts.problem.empty() && needs.empty()) {
        add_unknown(findings_, "path " + path, "space", make_error(Errc::kNotFound, "no configuration says how much is needed"));
      }
    }
    check_space(host_.files, needs, findings_);
  }

  PathFacts examine_path(const std::string& path) {
    const PathFacts facts = host_.look(path);
    if (!facts.problem.empty()) {
      if (seen_.insert("problem " + facts.problem).second) add_unknown(findings_, "path " + path, "path", make_error(Errc::kIo, facts.problem));
      return facts;
    }
    if (!facts.is_block_device && seen_.insert(file_system_subject(host_.files, facts)).second) check_file_system(host_.files, facts, findings_);
    check_devices(host_.files, process_, facts, seen_, findings_);
    return facts;
  }

  const Host& host_;
  const Question& question_;
  std::optional<Config> config_;
  Process process_;
  Findings findings_;
  std::set<std::string> seen_;  ///< file systems and devices that were told of
};

}  // namespace

Findings examine(const Host& host, const Question& question) { return Examination(host, question).run(); }

}  // namespace ringbolt::ctl::doctor
