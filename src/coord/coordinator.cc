#include "coord/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "log/log.h"

namespace ringbolt::coord {
namespace {

constexpr Span kMeasureEvery = std::chrono::seconds(10);
constexpr Span kLookAgain = std::chrono::seconds(30);
constexpr size_t kPasswordBytesMax = 1024;
/// A call may have to try several members within a lease's time.
constexpr int kAttemptsPerLease = 5;
constexpr Span kAttemptMax = std::chrono::seconds(2);

Result<std::string> read_password(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kPasswordBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.fail() && !file.eof())) return make_error(Errc::kIo, fmt::format("coordinator: password_file {} cannot be read", path));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kPasswordBytesMax) return make_error(Errc::kInvalid, fmt::format("coordinator: password_file {} is longer than {} bytes", path, kPasswordBytesMax));
  text.erase(std::min(text.find_first_of("\r\n"), text.size()));
  if (text.empty()) return make_error(Errc::kInvalid, fmt::format("coordinator: password_file {} has no password in its first line", path));
  return text;
}

double seconds(Span span) { return std::chrono::duration<double>(span).count(); }

}  // namespace

Result<EtcdOptions> read_etcd_options(const CoordinatorSource& source) {
  EtcdOptions options;
  bool tls = false;
  for (const std::string& url : source.endpoints) {
    BOOST_OUTCOME_TRY(Endpoint endpoint, parse_endpoint(url));
    tls = tls || endpoint.tls;
    options.endpoints.push_back(std::move(endpoint));
  }
  options.user = source.user;
  if (!source.user.empty()) {
    BOOST_OUTCOME_TRY(options.password, read_password(source.password_file));
  }
  if (tls) {
    BOOST_OUTCOME_TRY(options.tls, make_tls(source.tls));
  }
  options.attempt_time = std::chrono::duration_cast<std::chrono::milliseconds>(std::min<Span>(source.lease / kAttemptsPerLease, kAttemptMax));
  return options;
}

Coordinator::Coordinator(boost::asio::io_context& io, CoordinatorOptions options, NodeRecord record)
    : options_(std::move(options)), etcd_(io, options_.etcd), timer_(io) {
  const auto woken = [this] { arm(); };
  measured_at_ = BootClock::now();
  registration_ = std::make_shared<NodeRegistration>(etcd_, options_.cluster, measured(std::move(record)), options_.lease, &BootClock::now, woken);
  directory_ = std::make_shared<NodeDirectory>(etcd_, nodes_prefix(options_.cluster), std::min<Span>(options_.lease / kAttemptsPerLease, kAttemptMax), kLookAgain, &BootClock::now, woken);
  turn();
}

Coordinator::~Coordinator() = default;

void Coordinator::change(NodeRecord record) { registration_->change(measured(std::move(record))); }

void Coordinator::leave(std::function<void()> done) { registration_->leave(std::move(done)); }

void Coordinator::turn() {
  turning_ = true;
  const Instant now = BootClock::now();
  if (now >= measured_at_ + kMeasureEvery) {
    measured_at_ = now;
    registration_->change(measured(registration_->record()));
  }
  registration_->turn();
  directory_->turn();
  turning_ = false;
  arm();
}

void Coordinator::arm() {
  if (turning_) return;
  const Instant wake = std::min({registration_->wake(), directory_->wake(), measured_at_ + kMeasureEvery});
  // The timer's clock stands still while the machine is suspended: then it is late, which the boot clock tells.
  timer_.expires_after(std::max(wake - BootClock::now(), Span::zero()));
  timer_.async_wait([this, weak = std::weak_ptr(alive_)](const boost::system::error_code& cancelled) {
    // One that was due already is not cancelled any more.
    if (!cancelled && weak.lock()) turn();
  });
}

NodeRecord Coordinator::measured(NodeRecord record) const {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(options_.data_dir, error);
  if (error) {
    RINGBOLT_LOG_LIMITED(kWarn, "coordinator: the free space of {} is not known: {}", options_.data_dir, error.message());
    return record;
  }
  record.capacity_bytes = space.capacity;
  record.free_bytes = space.available;
  return record;
}

CoordinatorStatus Coordinator::status() const {
  const Instant now = BootClock::now();
  const EtcdClient::Health& health = etcd_.health();
  const LeaseKeeper& lease = registration_->lease();
  CoordinatorStatus status;
  status.cluster = options_.cluster;
  for (const Endpoint& endpoint : options_.etcd.endpoints) status.endpoints.push_back(endpoint.url);
  status.endpoint = health.endpoint;
  status.answering = health.answering;
  if (health.answered_at) status.last_answer_seconds = seconds(now - *health.answered_at);
  status.last_error = health.last_error;
  status.registration = to_string(registration_->state());
  status.reason = registration_->reason();
  if (lease.id() != 0) status.lease_id = fmt::format("{:x}", lease.id());
  status.lease_seconds = lease.time() / std::chrono::seconds(1);
  status.lease_valid = registration_->surely_registered();
  if (status.lease_valid) status.lease_seconds_left = seconds(lease.valid_until() - now);
  status.nodes_current = directory_->current();
  status.this_node = registration_->record();
  for (const auto& [id, node] : directory_->nodes()) status.nodes.push_back(node);
  return status;
}

}  // namespace ringbolt::coord
