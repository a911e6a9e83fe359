// Clients at sockets: a real image behind them, and clients that do not behave.
#include "block/nbd/server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/nbd/nbd_messages.h"
#include "tests/unit/block/qemu_tools.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/loop_thread.h"

namespace vmm::block::nbd {
namespace {

using std::chrono::milliseconds;

// Turns the loop, which is the client's too: it is never asleep for long. A server that does nothing fails
// the test instead of hanging it.
bool turn_until(Loop& loop, const auto& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "the server did not do it";
      return false;
    }
    loop->run_once(milliseconds(1));
  }
  return true;
}

// The client's end of a connection. It reads and writes while the server's loop runs.
class Client {
 public:
  Client(Loop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}

  void send(const Message& message) {
    std::span<const std::byte> rest = message.bytes();
    turn_until(loop_, [&] {
      const ssize_t count = ::send(fd_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      rest = rest.subspan(count < 0 ? 0 : static_cast<size_t>(count));
      return rest.empty();
    });
  }
  // Exactly so many bytes.
  Answer receive(size_t bytes) {
    std::vector<std::byte> all(bytes);
    size_t there = 0;
    turn_until(loop_, [&] {
      const ssize_t count = ::recv(fd_.get(), all.data() + there, bytes - there, MSG_DONTWAIT);
      there += count < 0 ? 0 : static_cast<size_t>(count);
      return there == bytes;
    });
    return Answer(std::move(all));
  }
  // Whatever comes before it.
  bool is_closed_in_the_end() {
    std::vector<std::byte> bytes(1 << 16);
    return turn_until(loop_, [&] {
      const ssize_t count = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      return count == 0 || (count < 0 && errno == ECONNRESET);
    });
  }
  void close() { fd_.reset(); }

  void choose(bool has_structured_replies = false) {
    receive(18).expect_greeting();
    send(client_flags());
    if (has_structured_replies) {
      send(option_message(Option::kStructuredReply));
      receive(20).expect_ack(Option::kStructuredReply);
      send(option_message(Option::kSetMetaContext, context_data("", {"base:allocation"})));
      receive(20 + 19 + 20);
    }
    send(option_message(Option::kGo, go_data("")));
    receive(20 + 12 + 20);
  }

 private:
  Loop& loop_;
  UniqueFd fd_;
};

class NbdServer : public ::testing::Test {
 protected:
  void TearDown() override {
    if (server_ != nullptr) {
      server_->stop();
      turn_until(loop_, [this] { return server_->is_over(); });
      server_.reset();
    }
    if (disk_ != nullptr) {
      drain(*loop_, *disk_, std::chrono::seconds(30));
    }
  }

  void open(Format format, const std::string& path, DiskOptions options = {}) {
    options.path = path;
    options.format = format;
    options.for_guest = false;
    options.discard = DiscardMode::kUnmap;
    auto disk = open_disk(*loop_, options);
    ASSERT_TRUE(disk) << disk.error().message();
    disk_ = std::move(*disk);
  }
  void make_qcow2(const std::string& size = "64M") {
    path_ = folder_.file("disk.qcow2");
    must_run({"qemu-img", "create", "-q", "-f", "qcow2", path_, size});
  }

  void serve(const Server::Options& options = {.is_persistent = true}) { serve(*disk_, options); }
  void serve(BlockDevice& disk, const Server::Options& options = {.is_persistent = true}) {
    auto listener = Server::listen(socket_path());
    ASSERT_TRUE(listener) << listener.error().message();
    auto server = Server::create(*loop_, {.disk = &disk, .has_several_connections = options.clients > 1},
                                 std::move(*listener), options);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  std::string socket_path() const { return folder_.file("s"); }

  Client connect() {
    auto fd = connect_unix("a test", socket_path());
    EXPECT_TRUE(fd) << fd.error().message();
    return Client(loop_, std::move(*fd));
  }
  bool greets(Client& client) {
    client.receive(18).expect_greeting();
    return !HasFailure();
  }

  Loop loop_;
  TemporaryFolder folder_;
  std::string path_;
  std::unique_ptr<BlockDevice> disk_;
  std::unique_ptr<Server> server_;
};

TEST_F(NbdServer, WhatIsWrittenIsReadAndIsInTheImage) {
  make_qcow2();
  open(Format::kQcow2, path_);
  serve();
  Client client = connect();
  client.choose();
  const auto bytes = pattern_bytes(300'000, 3);
  client.send(request_message(Command::kWrite, 1, 100'000, 300'000).data(bytes));
  client.receive(16).expect_simple(1);
  client.send(request_message(Command::kRead, 2, 100'000, 300'000));
  Answer answer = client.receive(16 + 300'000);
  answer.expect_simple(2);
  EXPECT_EQ(answer.take_bytes(300'000), bytes);
  client.send(request_message(Command::kWriteZeroes, 3, 100'000, 65536));
  client.receive(16).expect_simple(3);
  client.send(request_message(Command::kFlush, 4, 0, 0));
  client.receive(16).expect_simple(4);
  client.send(request_message(Command::kDisconnect, 5, 0, 0));
  EXPECT_TRUE(client.is_closed_in_the_end());
  server_->stop();
  server_.reset();
  ASSERT_TRUE(drain(*loop_, *disk_, std::chrono::seconds(30)));
  disk_.reset();
  must_run({"qemu-img", "check", "-f", "qcow2", path_});
  must_run({"qemu-io", "-f", "qcow2", "-c", "read -P 0 100000 65536", path_});
}

TEST_F(NbdServer, ManyRequestsOfSeveralClientsAreDoneSideBySide) {
  make_qcow2();
  open(Format::kQcow2, path_);
  serve({.clients = 4, .is_persistent = true});
  std::vector<Client> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(connect());
    clients.back().choose();
  }
  constexpr uint32_t kLength = 20'000;
  constexpr uint64_t kRequests = 100;
  for (size_t i = 0; i < clients.size(); ++i) {
    Message all;
    for (uint64_t k = 0; k < kRequests; ++k) {
      const uint64_t offset = (k * clients.size() + i) * kLength;
      all.data(request_message(Command::kWrite, k, offset, kLength).bytes())
          .data(pattern_bytes(kLength, static_cast<uint32_t>(offset)));
    }
    clients[i].send(all);
  }
  for (Client& client : clients) {
    client.receive(kRequests * kSimpleReplyBytes);
  }
  // Another client's writes.
  for (uint64_t k = 0; k < kRequests; ++k) {
    const uint64_t offset = k * clients.size() * kLength;
    clients[3].send(request_message(Command::kRead, k, offset, kLength));
    Answer answer = clients[3].receive(16 + kLength);
    answer.expect_simple(k);
    ASSERT_EQ(answer.take_bytes(kLength), pattern_bytes(kLength, static_cast<uint32_t>(offset)));
  }
}

TEST_F(NbdServer, BlockStatusTellsDataZeroesAndHoles) {
  make_qcow2("4M");
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 1 64k 128k", "-c", "write -z 512k 64k", "-c",
            "write -P 2 1M 64k", path_});
  open(Format::kQcow2, path_, {.read_only = true});
  serve();
  Client client = connect();
  client.choose(true);
  struct Extent {
    uint32_t length;
    uint32_t state;
    bool operator==(const Extent&) const = default;
  };
  const auto ask = [&client](uint64_t offset, uint32_t length, uint16_t flags) {
    client.send(request_message(Command::kBlockStatus, 8, offset, length, flags));
    const uint32_t bytes = client.receive(20).expect_chunk(Chunk::kBlockStatus, 8);
    Answer answer = client.receive(bytes);
    EXPECT_EQ(answer.take<uint32_t>(), kAllocationContextId);
    std::vector<Extent> extents;
    while (!answer.is_empty()) {
      extents.push_back({.length = answer.take<uint32_t>(), .state = answer.take<uint32_t>()});
    }
    return extents;
  };
  constexpr uint32_t kNothing = kStateHole | kStateZero;
  EXPECT_EQ(ask(0, 4 << 20, 0), (std::vector<Extent>{{65536, kNothing},
                                                     {131072, 0},
                                                     {(1 << 20) - 196608, kNothing},
                                                     {65536, 0},
                                                     {(3 << 20) - 65536, kNothing}}));
  EXPECT_EQ(ask(70'000, 1000, kReqOne), (std::vector<Extent>{{1000, 0}}));
  EXPECT_EQ(ask(0, 1 << 20, kReqOne), (std::vector<Extent>{{65536, kNothing}}));
}

TEST_F(NbdServer, BlockStatusOfManyExtentsMayBeShort) {
  const std::string path = folder_.file("raw");
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  constexpr int kPairs = 1200;
  constexpr off_t kPairBytes = 131072;
  for (int i = 0; i < kPairs; ++i) {
    ASSERT_EQ(::pwrite(fd.get(), "x", 1, i * kPairBytes), 1);
  }
  open(Format::kRaw, path, {.read_only = true});
  serve();
  Client client = connect();
  client.choose(true);
  client.send(request_message(Command::kBlockStatus, 8, 0, (kPairs - 1) * 131072U));
  EXPECT_EQ(client.receive(20).expect_chunk(Chunk::kBlockStatus, 8), BlockStatus::kMaxBytes);
  client.receive(BlockStatus::kMaxBytes);
}

// The loop sleeps as long as nothing wakes it.
TEST_F(NbdServer, NoAnswerWaitsForAnotherRequest) {
  for (const EngineKind engine : {EngineKind::kIoUring, EngineKind::kThreads}) {
    const std::string path = folder_.file("raw");
    write_file(path, pattern_bytes(65536, 1));
    open(Format::kRaw, path, {.io = engine});
    serve();
    auto fd = connect_unix("a test", socket_path());
    ASSERT_TRUE(fd);
    const auto expect_bytes = [&fd](size_t bytes) {
      std::vector<std::byte> all(bytes);
      for (size_t there = 0; there < bytes;) {
        pollfd waiting{.fd = fd->get(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&waiting, 1, 30'000), 1) << "there is no answer";
        const ssize_t count = ::recv(fd->get(), all.data(), bytes - there, MSG_DONTWAIT);
        ASSERT_GT(count, 0);
        there += static_cast<size_t>(count);
      }
    };
    const auto send = [&fd](const Message& message) {
      const auto& bytes = message.bytes();
      ASSERT_EQ(::send(fd->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size()));
    };
    {
      const LoopThread thread(*loop_);
      send(client_flags().data(option_message(Option::kGo, go_data("")).bytes()));
      expect_bytes(18 + 20 + 12 + 20);
      for (int i = 0; i < 3 && !HasFatalFailure(); ++i) {
        send(request_message(Command::kWrite, 1, 0, 512).data(pattern_bytes(512, 2)));
        expect_bytes(16);
        send(request_message(Command::kFlush, 2, 0, 0));
        expect_bytes(16);
        send(request_message(Command::kFlush, 3, 0, 0));
        expect_bytes(16);
        send(request_message(Command::kRead, 4, 0, 512));
        expect_bytes(16 + 512);
        send(request_message(Command::kTrim, 5, 1, 2, kFua));
        expect_bytes(16);
      }
    }
    server_->stop();
    ASSERT_TRUE(turn_until(loop_, [this] { return server_->is_over(); }));
    server_.reset();
    ASSERT_TRUE(drain(*loop_, *disk_, std::chrono::seconds(30)));
    disk_.reset();
  }
}

TEST_F(NbdServer, TheSocketIsForItsUserAlone) {
  FakeBlockDevice disk(4096);
  serve(disk);
  struct stat info{};
  ASSERT_EQ(::stat(socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(NbdServer, OneClientTooManyWaitsForItsTurn) {
  FakeBlockDevice disk(4096);
  serve(disk);
  Client first = connect();
  ASSERT_TRUE(greets(first));
  Client second = connect();
  for (int i = 0; i < 5; ++i) {
    loop_->run_once(milliseconds(1));
  }
  first.close();
  EXPECT_TRUE(greets(second));
}

TEST_F(NbdServer, EndsWithItsLastClient) {
  FakeBlockDevice disk(4096);
  serve(disk, {.clients = 2});
  Client looks_only = connect();
  looks_only.receive(18);
  looks_only.close();
  Client first = connect();
  first.choose();
  Client second = connect();
  second.choose();
  first.close();
  for (int i = 0; i < 5; ++i) {
    loop_->run_once(milliseconds(1));
  }
  EXPECT_FALSE(server_->is_over());
  second.send(request_message(Command::kDisconnect, 5, 0, 0));
  turn_until(loop_, [this] { return server_->is_over(); });
  EXPECT_FALSE(std::filesystem::exists(socket_path()));
}

TEST_F(NbdServer, StaysWhereItIsToStay) {
  FakeBlockDevice disk(4096);
  serve(disk);
  for (int i = 0; i < 3; ++i) {
    Client client = connect();
    client.choose();
    client.send(request_message(Command::kDisconnect, 5, 0, 0));
    EXPECT_TRUE(client.is_closed_in_the_end());
  }
  EXPECT_FALSE(server_->is_over());
}

TEST_F(NbdServer, WhoDoesNotKeepToTheProtocolIsDisconnectedAndTheOthersAreServed) {
  FakeBlockDevice disk(1 << 20);
  serve(disk, {.clients = 3, .is_persistent = true});
  Client good = connect();
  good.choose();
  for (const Message& bad : {Message().text("GET / HTTP/1.1\r\n\r\n"), client_flags(0xff00),
                             Message()
                                 .data(client_flags().bytes())
                                 .data(option_message(Option::kExportName, Message().text("x")).bytes())}) {
    Client client = connect();
    client.receive(18);
    client.send(bad);
    EXPECT_TRUE(client.is_closed_in_the_end());
  }
  good.send(request_message(Command::kRead, 1, 0, 512));
  good.receive(16 + 512).expect_simple(1);
}

TEST_F(NbdServer, WhoSaysNothingIsLetGoAndWhoHasChosenStays) {
  FakeBlockDevice disk(1 << 20);
  serve(disk, {.clients = 2, .is_persistent = true, .handshake_limit = std::chrono::seconds(1)});
  Client chosen = connect();
  chosen.choose();
  Client silent = connect();
  EXPECT_TRUE(silent.is_closed_in_the_end());
  chosen.send(request_message(Command::kRead, 1, 0, 512));
  chosen.receive(16 + 512).expect_simple(1);
}

TEST_F(NbdServer, WhoDoesNotReadIsNotReadAndHoldsNobodyUp) {
  FakeBlockDevice disk(8 << 20);
  serve(disk, {.clients = 2, .is_persistent = true});
  Client lazy = connect();
  lazy.choose();
  Message reads;
  constexpr uint32_t kLength = 1 << 20;
  for (uint64_t cookie = 0; cookie < 100; ++cookie) {
    reads.data(request_message(Command::kRead, cookie, 0, kLength).bytes());
  }
  lazy.send(reads);
  for (int i = 0; i < 20; ++i) {
    loop_->run_once(milliseconds(0));
  }
  EXPECT_LE(disk.history().size(), BufferPool::kMaxBytes / kLength + 4);
  Client other = connect();
  other.choose();
  other.send(request_message(Command::kRead, 1, 0, 512));
  other.receive(16 + 512).expect_simple(1);
  // It may come back to it.
  for (uint64_t cookie = 0; cookie < 100; ++cookie) {
    lazy.receive(16 + kLength).expect_simple(cookie);
  }
}

TEST_F(NbdServer, ItEndsThoughAClientDoesNotRead) {
  FakeBlockDevice disk(8 << 20);
  serve(disk);
  Client lazy = connect();
  lazy.choose();
  lazy.send(request_message(Command::kRead, 1, 0, 8 << 20));
  for (int i = 0; i < 5; ++i) {
    loop_->run_once(milliseconds(0));
  }
  server_->stop();
  EXPECT_TRUE(turn_until(loop_, [this] { return server_->is_over(); }));
}

TEST_F(NbdServer, StoppedItAnswersWhatTheDiskHas) {
  FakeBlockDevice disk(1 << 20);
  disk.set_deferred(true);
  serve(disk);
  Client client = connect();
  client.choose();
  client.send(request_message(Command::kWrite, 1, 0, 512).data(pattern_bytes(512, 1)));
  turn_until(loop_, [&] { return disk.in_flight() == 1; });
  server_->stop();
  for (int i = 0; i < 5; ++i) {
    loop_->run_once(milliseconds(0));
  }
  EXPECT_FALSE(server_->is_over());
  disk.complete_all();
  client.receive(16).expect_simple(1);
  EXPECT_TRUE(client.is_closed_in_the_end());
  EXPECT_TRUE(server_->is_over());
}

TEST_F(NbdServer, AClientMayGoAwayWithRequestsUnderWay) {
  FakeBlockDevice disk(1 << 20);
  disk.set_deferred(true);
  serve(disk);
  Client client = connect();
  client.choose();
  client.send(request_message(Command::kRead, 1, 0, 512));
  turn_until(loop_, [&] { return disk.in_flight() == 1; });
  client.close();
  for (int i = 0; i < 5; ++i) {
    loop_->run_once(milliseconds(0));
  }
  disk.complete_all();
  Client next = connect();
  EXPECT_TRUE(greets(next));
}

}  // namespace
}  // namespace vmm::block::nbd
