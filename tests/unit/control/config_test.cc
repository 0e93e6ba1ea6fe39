// The configuration file: what is read, and what each mistake is answered with.
#include "control/config.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "control/config_changes.h"

namespace ringbolt {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

const std::string kNode = "[node]\nid = \"n1\"\ndata_dir = \"/data\"\n";  // lines 1 to 3
const std::string kVolume = kNode + "[[volume]]\nname = \"vol0\"\nsize = \"1GiB\"\n";  // to 6

std::string error_of_config(const std::string& text) {
  const Result<Config> config = parse_config(text, "x.toml");
  REQUIRE(config.has_error());
  CHECK(config.error().code == Errc::kInvalid);
  CHECK(config.error().message.find('\n') == std::string::npos);
  return config.error().message;
}

Config config_of(const std::string& text) {
  const Result<Config> config = parse_config(text, "x.toml");
  INFO((config.has_error() ? config.error().message : ""));
  REQUIRE(config.has_value());
  return config.value();
}

constexpr const char* kFull = R"(
[node]
id        = "n1"
data_dir  = "/var/lib/ringbolt"
shards    = 3
memory    = "1GiB"
spin      = "50us"
pin       = true
[nbd]
listen = ["127.0.0.1:10809", "unix:/run/ringbolt/nbd.sock"]
max_connections = 17
handshake_timeout = "1s"
stall_timeout = "500ms"
[replication]
listen = "10.0.0.1:10810"
timeout = "250ms"
when_lost = "wait"
wal_retain = "75%"
[admin]
listen = "[::1]:10811"
[rebuild]
rate_max  = "100MiB"
chunk     = "512KiB"
in_flight = 8
parallel  = 3
[[volume]]
name       = "vol0"
size       = "1GiB"
wal_size   = "64MiB"
path       = "/dev/a"
wal_path   = "/dev/b"
durability = "sync_quorum"
role       = "primary"
epoch      = 7
[[volume.replica]]
id      = "n2"
address = "127.0.0.1:20810"
[[volume.replica]]
id      = "n3"
address = "127.0.0.1:30810"
[[volume]]
name = "vol1"
size = 8192
role = "replica"
)";

TEST_CASE("config: every key is read", "[config]") {
  const Config config = config_of(kFull);
  CHECK(config.node_id == "n1");
  CHECK(config.data_dir == "/var/lib/ringbolt");
  CHECK(config.shards == 3);
  CHECK(config.memory_bytes == uint64_t{1} << 30);
  CHECK(config.spin_ns == 50'000);
  CHECK(config.pin_shards);
  CHECK(config.nbd_listen ==
        std::vector<std::string>{"127.0.0.1:10809", "unix:/run/ringbolt/nbd.sock"});
  CHECK(config.nbd_connections_max == 17);
  CHECK(config.nbd_handshake_timeout_ns == 1'000'000'000);
  CHECK(config.nbd_stall_timeout_ns == 500'000'000);
  CHECK(config.replication_listen == "10.0.0.1:10810");
  CHECK(config.replica_timeout_ns == 250'000'000);
  CHECK(config.wait_for_lost_replicas);
  CHECK(config.wal_retain_percent == 75);
  CHECK(config.admin_listen == "[::1]:10811");
  CHECK(config.rebuild_rate_max == uint64_t{100} << 20);
  CHECK(config.rebuild_chunk_bytes == 512u << 10);
  CHECK(config.rebuild_in_flight == 8);
  CHECK(config.rebuild_parallel == 3);
  REQUIRE(config.volumes.size() == 2);
  const VolumeConfig& vol0 = config.volumes[0];
  CHECK(vol0.name == "vol0");
  CHECK(vol0.size_bytes == uint64_t{1} << 30);
  CHECK(vol0.wal_bytes == uint64_t{64} << 20);
  CHECK(vol0.path == "/dev/a");
  CHECK(vol0.wal_path == "/dev/b");
  CHECK(vol0.durability == Durability::kSyncQuorum);
  CHECK(vol0.role == Role::kPrimary);
  CHECK(vol0.epoch == 7);
  REQUIRE(vol0.replicas.size() == 2);
  CHECK(vol0.replicas[1] == ReplicaConfig{"n3", "127.0.0.1:30810"});
  CHECK(config.volumes[1].size_bytes == 8192);
  CHECK(config.volumes[1].role == Role::kReplica);
}

TEST_CASE("config: what is left out has its default", "[config]") {
  const Config config = config_of(kVolume);
  const Config fresh;
  CHECK(config.shards == fresh.shards);
  CHECK(config.memory_bytes == fresh.memory_bytes);
  CHECK(!config.pin_shards);
  CHECK(config.nbd_listen == fresh.nbd_listen);
  CHECK(config.admin_listen == "127.0.0.1:10811");
  CHECK(!config.wait_for_lost_replicas);
  CHECK(config.wal_retain_percent == 50);
  CHECK(config.rebuild_rate_max == 0);
  CHECK(config.rebuild_parallel == 2);
  CHECK(config.volumes[0].role == Role::kNone);
  CHECK(config.volumes[0].durability == Durability::kSyncAll);
  CHECK(config.volumes[0].wal_bytes == uint64_t{256} << 20);
  CHECK(config.volumes[0].epoch == 1);
}

TEST_CASE("config: a string does for a list of addresses", "[config]") {
  CHECK(config_of(kNode + "[nbd]\nlisten = \"127.0.0.1:0\"").nbd_listen ==
        std::vector<std::string>{"127.0.0.1:0"});
}

TEST_CASE("config: an unknown key names its line and the nearest known key", "[config]") {
  CHECK(error_of_config(kNode + "shard = 4\n") ==
        "x.toml:4: unknown key \"shard\" in [node]; the nearest known one is \"shards\"");
  CHECK(error_of_config(kNode + "[replicaton]\nlisten = \"127.0.0.1:1\"\n") ==
        "x.toml:4: unknown key \"replicaton\" in the file; the nearest known one is "
        "\"replication\"");
  CHECK_THAT(error_of_config(kNode + "[replication]\nwhenlost = \"drop\""), Contains("\"when_lost\""));
  CHECK_THAT(error_of_config(kNode + "[replication]\nwal_retained = \"1%\""), Contains("\"wal_retain\""));
  CHECK_THAT(error_of_config(kVolume + "durabilty = \"sync_all\"\n"), StartsWith("x.toml:7: unknown key"));
  CHECK_THAT(error_of_config(kVolume + "role = \"primary\"\n[[volume.replica]]\nid = \"n2\"\nadress = 1\n"),
             StartsWith("x.toml:10: ") && Contains("\"address\""));
  CHECK_THAT(error_of_config(kNode + "[rebuild.x]\n"), Contains("unknown key \"x\" in [rebuild]"));
}

TEST_CASE("config: a misspelt required key is reported as misspelt, the first one first",
          "[config]") {
  CHECK(error_of_config("[node]\nidd = \"n1\"\ndat_dir = \"/data\"\n") ==
        "x.toml:2: unknown key \"idd\" in [node]; the nearest known one is \"id\"");
  CHECK_THAT(error_of_config("[node]\nzz = 1\naa = 1\n"), StartsWith("x.toml:2: unknown key \"zz\""));
}

TEST_CASE("config: required keys", "[config]") {
  CHECK_THAT(error_of_config(""), StartsWith("x.toml:1: the table [node] is missing"));
  CHECK(error_of_config("\n[node]\ndata_dir = \"/data\"") ==
        "x.toml:2: [node] has no \"id\", which is required");
  CHECK(error_of_config("[node]\nid = \"n1\"") ==
        "x.toml:1: [node] has no \"data_dir\", which is required");
  CHECK(error_of_config(kNode + "[[volume]]\nsize = 4096") ==
        "x.toml:4: [[volume]] has no \"name\", which is required");
  CHECK(error_of_config(kNode + "[[volume]]\nname = \"a\"\nsize = 4096\n\n[[volume]]\nname = \"b\"\n") ==
        "x.toml:8: [[volume]] has no \"size\", which is required");
  const std::string primary = kVolume + "role = \"primary\"\n[[volume.replica]]\n";
  CHECK(error_of_config(primary + "address = \"h:1\"") ==
        "x.toml:8: [[volume.replica]] has no \"id\", which is required");
  CHECK(error_of_config(primary + "id = \"n2\"") ==
        "x.toml:8: [[volume.replica]] has no \"address\", which is required");
}

TEST_CASE("config: a wrong type names the expected one", "[config]") {
  CHECK(error_of_config(kNode + "shards = \"4\"") ==
        "x.toml:4: [node] shards: expected an integer, got a string");
  CHECK_THAT(error_of_config("[node]\nid = 1"), StartsWith("x.toml:2: [node] id: expected a string"));
  CHECK_THAT(error_of_config(kNode + "memory = 1.5"), Contains("expected a size") && Contains("floating"));
  CHECK(error_of_config(kNode + "pin = \"yes\"") == "x.toml:4: [node] pin: expected true or false, got a string");
  CHECK_THAT(error_of_config(kNode + "pin = 1"), Contains("expected true or false, got an integer"));
  CHECK_THAT(error_of_config(kNode + "spin = 20"), Contains("expected a time") && Contains("an integer"));
  CHECK_THAT(error_of_config(kNode + "[replication]\nwal_retain = 50"),
             Contains("expected a share (string such as \"50%\"), got an integer"));
  CHECK_THAT(error_of_config(kNode + "[replication]\nwhen_lost = true"),
             Contains("when_lost: expected a string"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = 1"), Contains("a string or an array of strings"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = [\"127.0.0.1:1\",\n 2]"),
             StartsWith("x.toml:6: ") && Contains("strings only"));
  CHECK_THAT(error_of_config("node = 1"), Contains("expected a table, written [node]"));
  CHECK_THAT(error_of_config("[[node]]\nid = \"a\""), Contains("expected a table, written [node]"));
  CHECK_THAT(error_of_config(kNode + "[volume]\nname = \"a\""), Contains("written [[volume]]"));
  CHECK_THAT(error_of_config(kNode + "[[volume]]\nname = \"a\"\nsize = true"), Contains("a boolean"));
  CHECK_THAT(error_of_config(kVolume + "role = \"primary\"\n[volume.replica]\nid = \"a\""),
             Contains("written [[volume.replica]]"));
  CHECK_THAT(error_of_config("volume = [1]\n" + kNode), Contains("written [[volume]]"));
}

TEST_CASE("config: a syntax error gives its line", "[config]") {
  CHECK_THAT(error_of_config(kNode + "shards = = 4"), StartsWith("x.toml:4: "));
  CHECK_THAT(error_of_config(kNode + "id = \"n2\""), StartsWith("x.toml:4: "));
  CHECK_THAT(error_of_config("[node\n"), StartsWith("x.toml:1: "));
  CHECK_THAT(error_of_config("[node]\nid = \"\xff\"\n"), StartsWith("x.toml:2: "));
}

TEST_CASE("config: text that the TOML library does not expect is an error too", "[config]") {
  for (const char* text : {"[,[", "[!node]", "[=]", "[[*volume]]", "[node", "[node]\nid = \"n1"}) {
    CAPTURE(text);
    CHECK_THAT(error_of_config(text), StartsWith("x.toml:"));
  }
  // Characters outside ASCII where white space may be.
  CHECK_THAT(error_of_config("[node]\n\u00e9 = 1\n"), StartsWith("x.toml:2: "));
  CHECK_THAT(error_of_config("[node]\n\u3042 = 1\n"), StartsWith("x.toml:2: "));
}

TEST_CASE("config: what a message quotes from the file stays one short line", "[config]") {
  CHECK_THAT(error_of_config("x = +i\n\n"), Contains("\\x0a"));
  CHECK_THAT(error_of_config("[node]\n\"a\\nb\" = 1\n"), Contains("a\\x0ab"));
  CHECK(error_of_config("[node]\n" + std::string(100'000, 'k') + " = 1\n").size() < 2000);
}

TEST_CASE("config: numbers outside their range are refused with the range", "[config]") {
  CHECK(error_of_config(kNode + "memory = \"15MiB\"") ==
        "x.toml:4: [node] memory: 15MiB is out of range, allowed are 16MiB to 1TiB");
  CHECK(config_of(kNode + "memory = \"16MiB\"").memory_bytes == 16u << 20);
  // Each shard needs some, and each volume on it.
  CHECK(error_of_config(kNode + "shards = 256\nmemory = \"256MiB\"") ==
        "x.toml:5: [node] memory: 256MiB is too little for 256 shards and 0 volumes, which need 2GiB");
  CHECK(config_of(kNode + "shards = 32\nmemory = \"256MiB\"").shards == 32);
  std::string volumes;
  for (int i = 0; i < 9; ++i) volumes += "[[volume]]\nname = \"v" + std::to_string(i) + "\"\nsize = \"1MiB\"\nrole = \"replica\"\n";
  CHECK_THAT(error_of_config(kNode + "shards = 2\nmemory = \"31MiB\"\n" + volumes), Contains("2 shards and 9 volumes, which need 32MiB"));
  CHECK(config_of(kNode + "shards = 2\nmemory = \"32MiB\"\n" + volumes).volumes.size() == 9);
  CHECK_THAT(error_of_config(kNode + "shards = -1"), Contains("-1 is negative"));
  CHECK_THAT(error_of_config(kNode + "shards = 257"), Contains("out of range"));
  CHECK_THAT(error_of_config(kNode + "spin = \"2s\""), Contains("allowed are 0 to 1s"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nmax_connections = 0"), Contains("out of range"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nhandshake_timeout = \"1ms\""), Contains("out of range"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nstall_timeout = 0"), Contains("out of range"));
  CHECK(config_of(kNode + "[nbd]\ntcp_congestion = \"bbr2\"").nbd_tcp_congestion == "bbr2");
  CHECK(config_of(kNode + "[replication]\ntcp_congestion = \"\"").replication_tcp_congestion.empty());
  for (const char* const section : {"[nbd]", "[replication]"}) {
    for (const char* const wrong : {"Cubic", "a/b", "sixteen_letters_"}) {
      CHECK_THAT(error_of_config(kNode + section + "\ntcp_congestion = \"" + wrong + "\""), Contains("tcp_congestion") && Contains("expected the name of a TCP congestion control"));
    }
  }
  CHECK_THAT(error_of_config(kNode + "[replication]\ntimeout = \"2us\""), Contains("out of range"));
  CHECK(error_of_config(kNode + "[replication]\nwal_retain = \"91%\"") ==
        "x.toml:5: [replication] wal_retain: 91% is out of range, allowed are 0% to 90%");
  CHECK(config_of(kNode + "[replication]\nwal_retain = \"90%\"").wal_retain_percent == 90);
  CHECK(config_of(kNode + "[replication]\nwal_retain = \"0%\"").wal_retain_percent == 0);
  CHECK_THAT(error_of_config(kNode + "[replication]\nwal_retain = \"half\""), Contains("expected a share"));
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nin_flight = 0"), Contains("out of range"));
  CHECK(error_of_config(kNode + "[rebuild]\nparallel = 0") == "x.toml:5: [rebuild] parallel: 0 is out of range, allowed are 1 to 64");
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nparallel = 65"), Contains("out of range"));
  CHECK(config_of(kNode + "[rebuild]\nparallel = 64").rebuild_parallel == 64);
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nparalel = 1"), Contains("the nearest known one is \"parallel\""));
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nchunk = 4097"), Contains("whole blocks"));
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nchunk = \"1GiB\""), Contains("out of range"));
  CHECK_THAT(error_of_config(kNode + "[rebuild]\nrate_max = \"fast\""), Contains("expected a size"));
}

TEST_CASE("config: a volume's sizes are whole blocks within their limits", "[config]") {
  const auto sized = [](const std::string& size) {
    return kNode + "[[volume]]\nname = \"v\"\nsize = " + size + "\n";
  };
  CHECK(config_of(sized("4096")).volumes[0].size_bytes == 4096);
  CHECK(config_of(sized("\"16TiB\"")).volumes[0].size_bytes == kVolumeBytesMax);
  CHECK_THAT(error_of_config(sized("0")), StartsWith("x.toml:6: ") && Contains("out of range"));
  CHECK_THAT(error_of_config(sized("4095")), Contains("out of range"));
  CHECK_THAT(error_of_config(sized("4097")), Contains("whole blocks of 4096"));
  CHECK_THAT(error_of_config(sized("\"17TiB\"")), Contains("out of range"));
  CHECK_THAT(error_of_config(sized("-4096")), Contains("negative"));
  CHECK_THAT(error_of_config(kVolume + "wal_size = \"4MiB\""), Contains("allowed are 8MiB to 64GiB"));
  CHECK_THAT(error_of_config(kVolume + "wal_size = 8388609"), Contains("whole blocks"));
}

TEST_CASE("config: names and ids are checked", "[config]") {
  CHECK_THAT(error_of_config("[node]\nid = \"n/1\"\ndata_dir = \"/d\""), StartsWith("x.toml:2: [node] id"));
  CHECK_THAT(error_of_config("[node]\nid = \"\"\ndata_dir = \"/d\""), Contains("must not be empty"));
  CHECK_THAT(error_of_config("[node]\nid = \"n1\"\ndata_dir = \"\""), StartsWith("x.toml:3: "));
  CHECK_THAT(error_of_config("[node]\nid = \"n1\"\ndata_dir = \"/d\\u0000x\""), Contains("control"));
  for (const std::string name : {"..", ".", "a b", "", "a/b"}) {
    CHECK_THAT(error_of_config(kNode + "[[volume]]\nname = \"" + name + "\"\nsize = 4096"),
               StartsWith("x.toml:5: [[volume]] name"));
  }
  const std::string primary = kVolume + "role = \"primary\"\n[[volume.replica]]\n";
  CHECK_THAT(error_of_config(primary + "id = \"a b\"\naddress = \"h:1\""), StartsWith("x.toml:9: "));
}

TEST_CASE("config: words are checked against the known ones", "[config]") {
  CHECK(error_of_config(kVolume + "role = \"leader\"") ==
        "x.toml:7: [[volume]] role: \"leader\" is none of \"primary\", \"replica\", \"none\"");
  CHECK_THAT(error_of_config(kVolume + "durability = \"async\""), Contains("\"sync_quorum\""));
  CHECK(error_of_config(kNode + "[replication]\nwhen_lost = \"block\"") ==
        "x.toml:5: [replication] when_lost: \"block\" is none of \"drop\", \"wait\"");
  CHECK_THAT(error_of_config(kVolume + "epoch = 0"), Contains("out of range"));
  CHECK_THAT(error_of_config(kVolume + "epoch = -1"), Contains("negative"));
}

TEST_CASE("config: addresses are checked", "[config]") {
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = []"), Contains("at least one address"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = [\"127.0.0.1\"]"),
             StartsWith("x.toml:5: ") && Contains("HOST:PORT"));
  CHECK_THAT(error_of_config(kNode + "[replication]\nlisten = \"unix:/x\""), Contains("address \""));
  CHECK_THAT(error_of_config(kNode + "[admin]\nlisten = \"127.0.0.1:99999\""), Contains("address \""));
  CHECK_THAT(error_of_config(kVolume + "role = \"primary\"\n[[volume.replica]]\nid = \"n2\"\naddress = "
                                "\"10.0.0.1:0\""),
             StartsWith("x.toml:10: "));
}

TEST_CASE("config: two listeners on one address are refused, defaults included", "[config]") {
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]"),
             Contains("already used on line 5"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:1\""),
             StartsWith("x.toml:7: ") && Contains("already used on line 5"));
  CHECK_THAT(error_of_config(kNode + "[nbd]\nlisten = \"127.0.0.1:10811\"\n"), Contains("already used"));
  config_of(kNode +
            "[nbd]\nlisten = \"127.0.0.1:0\"\n[replication]\nlisten = \"127.0.0.1:0\"\n[admin]\n"
            "listen = \"127.0.0.1:0\"");
}

TEST_CASE("config: duplicates are refused with the line of the first", "[config]") {
  CHECK(error_of_config(kVolume + "[[volume]]\nname = \"vol0\"\nsize = 4096\n") ==
        "x.toml:8: [[volume]] name: \"vol0\" is already used on line 5");
  CHECK_THAT(error_of_config(kVolume + "path = \"/dev/a\"\nwal_path = \"/dev/./a\"\n"),
             StartsWith("x.toml:8: ") && Contains("already used on line 7"));
  CHECK_THAT(error_of_config(kVolume + "path = \"/dev/a\"\n[[volume]]\nname = \"b\"\nsize = 4096\n"
                                "wal_path = \"/dev/x/../a\"\n"),
             StartsWith("x.toml:11: "));
  const std::string primary = kVolume + "role = \"primary\"\n";
  const std::string n2 = "[[volume.replica]]\nid = \"n2\"\naddress = \"h:1\"\n";
  CHECK_THAT(error_of_config(primary + n2 + "[[volume.replica]]\nid = \"n2\"\naddress = \"h:2\"\n"),
             StartsWith("x.toml:12: ") && Contains("line 9"));
  CHECK_THAT(error_of_config(primary + n2 + "[[volume.replica]]\nid = \"n3\"\naddress = \"h:1\"\n"),
             StartsWith("x.toml:13: ") && Contains("line 10"));
}

TEST_CASE("config: a link to a path that is in use counts as that path", "[config]") {
  char directory[] = "/tmp/ringbolt-config-XXXXXX";
  REQUIRE(mkdtemp(directory) != nullptr);
  const std::string real = std::string(directory) + "/image";
  const std::string link = std::string(directory) + "/link";
  std::ofstream(real) << "x";
  REQUIRE(symlink(real.c_str(), link.c_str()) == 0);
  CHECK_THAT(error_of_config(kVolume + "path = \"" + real + "\"\nwal_path = \"" + link + "\"\n"),
             Contains("already used on line 7"));
  unlink(link.c_str());
  unlink(real.c_str());
  rmdir(directory);
}

TEST_CASE("config: replicas belong to a primary and are other nodes", "[config]") {
  const std::string n2 = "[[volume.replica]]\nid = \"n2\"\naddress = \"h:1\"\n";
  CHECK_THAT(error_of_config(kVolume + n2), Contains("only a primary has replicas"));
  CHECK_THAT(error_of_config(kVolume + "role = \"replica\"\n" + n2), Contains("is replica"));
  CHECK_THAT(error_of_config(kVolume + "role = \"primary\"\n[[volume.replica]]\nid = \"n1\"\naddress = "
                                "\"h:1\"\n"),
             StartsWith("x.toml:9: ") && Contains("this node itself"));
  CHECK_THAT(error_of_config(kVolume + "role = \"primary\"\n[[volume.replica]]\nid = \"n2\"\naddress = "
                                "\"127.0.0.1:10810\"\n"),
             Contains("this node itself listens"));
  std::string many = kVolume + "role = \"primary\"\n";
  for (int i = 0; i < 9; ++i) {
    many += "[[volume.replica]]\nid = \"r" + std::to_string(i) + "\"\naddress = \"h:" +
            std::to_string(i + 1) + "\"\n";
  }
  CHECK_THAT(error_of_config(many), Contains("9 replicas, at most 8"));
}

TEST_CASE("config: a file that cannot be read is an error with its name", "[config]") {
  const Result<Config> missing = load_config("/nonexistent/ringbolt.toml");
  REQUIRE(missing.has_error());
  CHECK(missing.error().code == Errc::kNotFound);
  CHECK(missing.error().message ==
        "/nonexistent/ringbolt.toml: cannot be read: No such file or directory");
  CHECK_THAT(load_config("/tmp").error().message, Contains("Is a directory"));
  CHECK_THAT(load_config("/dev/zero").error().message, Contains("is longer than 1MiB"));
}

TEST_CASE("config: a file is read like text", "[config]") {
  char path[] = "/tmp/ringbolt-config-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  close(fd);
  std::ofstream(path) << kFull;
  const Result<Config> config = load_config(path);
  REQUIRE(config.has_value());
  CHECK(config_changes(config.value(), config_of(kFull)).empty());
  std::ofstream(path) << "[node]\nbad = 1\n";
  CHECK_THAT(load_config(path).error().message, StartsWith(std::string(path) + ":2: "));
  unlink(path);
}

TEST_CASE("config: changes between two files are listed", "[config]") {
  const Config before = config_of(kFull);
  Config after = before;
  CHECK(config_changes(before, after).empty());
  after.memory_bytes *= 2;
  after.wait_for_lost_replicas = false;
  after.wal_retain_percent = 0;
  after.rebuild_rate_max = 1;
  after.volumes[0].replicas[0].address = "127.0.0.1:1";
  after.volumes[1].name = "vol2";
  std::vector<std::string> names;
  for (const ConfigChange& change : config_changes(before, after)) {
    names.push_back(name_of(change));
    CHECK(change.from != change.to);
  }
  CHECK(names == std::vector<std::string>{"node.memory", "replication.when_lost", "replication.wal_retain", "rebuild.rate_max", "volume.name", "volume.name",
                                          "volume.replica.address (vol0, " + before.volumes[0].replicas[0].id + ")"});
  const std::vector<ConfigChange> changes = config_changes(before, after);
  CHECK(changes[3] == ConfigChange{"rebuild.rate_max", "", "", changes[3].from, "\"1B\"", Effect::kAtReload});
  CHECK(changes[4] == ConfigChange{"volume.name", "", "", "\"vol1\"", "", Effect::kAtStart});
  CHECK(changes[5] == ConfigChange{"volume.name", "", "", "", "\"vol2\"", Effect::kAtStart});
}

TEST_CASE("config: replicas are compared by their ids, in whatever order they stand", "[config]") {
  Config before = config_of(kFull);
  before.volumes[0].replicas = {{"n2", "h:2"}, {"n3", "h:3"}};
  Config after = before;
  after.volumes[0].replicas = {{"n4", "h:4"}, {"n3", "h:9"}};
  const std::vector<ConfigChange> changes = config_changes(before, after);
  REQUIRE(changes.size() == 3);
  CHECK(changes[0] == ConfigChange{"volume.replica.id", "vol0", "", "\"n2\"", "", Effect::kAtStart});
  CHECK(changes[1] == ConfigChange{"volume.replica.id", "vol0", "", "", "\"n4\"", Effect::kAtStart});
  CHECK(changes[2] == ConfigChange{"volume.replica.address", "vol0", "n3", "\"h:3\"", "\"h:9\"", Effect::kAtReload});
  std::reverse(before.volumes[0].replicas.begin(), before.volumes[0].replicas.end());
  CHECK(config_changes(before, after).size() == 3);
  // Of another assignment: it comes with that, or not at all.
  after.volumes[0].epoch += 1;
  for (const ConfigChange& change : config_changes(before, after)) CHECK(change.effect == Effect::kAtStart);
}

TEST_CASE("config: a coordinator, and what of it is not possible", "[config]") {
  const std::string coordinator = kNode + "[coordinator]\n";  // line 4
  const std::string good = coordinator + "endpoints = [\"http://h:2379\", \"https://[::1]:2379\"]\ncluster = \"prod\"\n";
  CHECK(config_of(kNode).coordinator_endpoints.empty());
  const Config config = config_of(good + "lease = \"9s\"\nuser = \"u\"\npassword_file = \"/p\"\nca_file = \"/ca\"\ncert_file = \"/c\"\nkey_file = \"/k\"\n");
  CHECK(config.coordinator_endpoints == std::vector<std::string>{"http://h:2379", "https://[::1]:2379"});
  CHECK((config.coordinator_cluster == "prod" && config.coordinator_lease_ns == 9'000'000'000));
  CHECK(config_of(good).coordinator_lease_ns == 5'000'000'000);
  CHECK(config_of("[node]\nid = \"n1\"\ndata_dir = \"/d\"\nzone = \"z1\"\nhost = \"h.example\"\n").host == "h.example");

  const auto wrong = [&](const std::string& text) { return error_of_config(text); };
  CHECK_THAT(wrong(coordinator), StartsWith("x.toml:4: [coordinator] has no \"endpoints\""));
  CHECK_THAT(wrong(coordinator + "endpoints = [\"http://h:1\"]\n"), StartsWith("x.toml:4: [coordinator] has no \"cluster\""));
  CHECK_THAT(wrong(coordinator + "endpoint = 1\n"), Contains("the nearest known one is \"endpoints\""));
  CHECK_THAT(wrong(coordinator + "endpoints = []\n"), Contains("at least one"));
  for (const char* const url : {"h:2379", "http://h", "http://h:0", "http://h:1/v3", "http://1.2:1", "ftp://h:1", ""}) {
    INFO(url);
    CHECK_THAT(wrong(coordinator + "endpoints = [\"" + url + "\"]\n"), StartsWith("x.toml:5: [coordinator] endpoints: "));
  }
  CHECK_THAT(wrong(coordinator + "endpoints = [\"http://h:1\", \"http://h:1\"]\n"), Contains("already used on line 5"));
  CHECK_THAT(wrong(coordinator + "endpoints = [\"http://h:1\"]\ncluster = \"a/b\"\n"), StartsWith("x.toml:6: [coordinator] cluster: "));
  for (const auto& [line, words] : std::initializer_list<std::pair<const char*, const char*>>{{"lease = \"1s\"", "out of range"},
                                                                                              {"lease = \"2500ms\"", "not whole seconds"},
                                                                                              {"user = \"u\"", "\"user\" and \"password_file\" go together"},
                                                                                              {"key_file = \"/k\"", "\"cert_file\" and \"key_file\" go together"}}) {
    INFO(line);
    CHECK_THAT(wrong(good + line + "\n"), StartsWith("x.toml:7: [coordinator] ") && Contains(words));
  }
  CHECK_THAT(wrong(coordinator + "endpoints = [\"http://h:1\"]\ncluster = \"c\"\nca_file = \"/ca\"\n"), Contains("no endpoint is https://"));
  CHECK_THAT(wrong(good + "[replication]\nlisten = \"127.0.0.1:0\"\n"), Contains("no fixed port"));
  CHECK_THAT(wrong("[node]\nid = \"n1\"\ndata_dir = \"/d\"\nzone = \"a b\"\n"), StartsWith("x.toml:4: [node] zone: "));
  CHECK_THAT(wrong("[node]\nid = \"n1\"\ndata_dir = \"/d\"\nhost = \"a b\"\n"), StartsWith("x.toml:4: [node] host: "));
}

}  // namespace
}  // namespace ringbolt
