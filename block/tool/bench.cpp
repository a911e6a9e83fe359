// vmm-img bench: how fast requests of one kind are served, through the disk stack that a guest has.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/aligned_memory.h"
#include "block/copy/disk.h"
#include "block/tool/chain_options.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/image_options.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kMaxMemoryBytes = uint64_t{1} << 30U;

struct BenchOptions {
  std::string path;
  ImageOptions image;
  std::string cache = "writeback";
  std::string engine = "io_uring";
  std::string size = "4k";
  std::string step;
  std::string offset = "0";
  uint64_t count = 75000;
  uint32_t depth = 64;
  uint64_t flush_interval = 0;
  uint32_t pattern = 0;
  bool is_write = false;
  bool is_native = false;
  bool has_no_drain = false;
  bool is_quiet = false;
  ChainOptions chain;
};

struct Plan {
  BlockOp op = BlockOp::kRead;
  uint64_t count = 0;
  uint64_t length = 0;
  uint64_t step = 0;
  uint64_t offset = 0;
  uint32_t depth = 0;
  uint64_t flush_interval = 0;  // 0: never
  bool drains = true;           // nothing else is under way during a flush
  uint8_t pattern = 0;
};

class Bench {
 public:
  Bench(EventLoop& loop, BlockDevice& device, const Plan& plan) : loop_(loop), device_(device), plan_(plan) {}

  // Seconds.
  Result<double> run() {
    const auto bytes = static_cast<size_t>(plan_.length * plan_.depth);
    memory_ = make_aligned_memory(std::max<size_t>(bytes, 1));
    if (memory_ == nullptr) {
      return fail("the host is out of memory for {} bytes of buffers; a smaller depth needs less", bytes);
    }
    std::memset(memory_.get(), plan_.pattern, bytes);
    for (uint32_t i = 0; i < plan_.depth; ++i) {
      buffers_.push_back(
          {.iov_base = memory_.get() + i * plan_.length, .iov_len = static_cast<size_t>(plan_.length)});
      free_.push_back(i);
    }
    const auto start = std::chrono::steady_clock::now();
    go_on();
    while (in_flight_ > 0) {
      loop_.run_once(std::chrono::seconds(1));
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (status_ != IoStatus::kOk) {
      return fail("a request failed: {}", status_text(status_));
    }
    return passed.count();
  }

 private:
  static constexpr uint64_t kFlush = UINT64_MAX;  // the cookie of a flush

  static void done(void* context, uint64_t cookie, IoStatus status) {
    auto& self = *static_cast<Bench*>(context);
    --self.in_flight_;
    if (cookie == kFlush) {
      self.is_flushing_ = false;
    } else {
      self.free_.push_back(static_cast<uint32_t>(cookie));
    }
    if (status != IoStatus::kOk && self.status_ == IoStatus::kOk) {
      self.status_ = status;
    }
    self.go_on();
  }

  bool is_flush_due() const { return plan_.flush_interval > 0 && begun_ - flushed_ >= plan_.flush_interval; }

  void go_on() {
    while (status_ == IoStatus::kOk && device_.can_accept()) {
      const bool must_wait = is_flushing_ && plan_.drains;
      if (must_wait || (is_flush_due() && plan_.drains && in_flight_ > 0)) {
        return;
      }
      if (is_flush_due() && !is_flushing_) {
        flushed_ = begun_;
        is_flushing_ = true;
        submit(BlockOp::kFlush, kFlush);
      } else if (begun_ < plan_.count && !free_.empty()) {
        const uint32_t buffer = free_.back();
        free_.pop_back();
        ++begun_;
        submit(plan_.op, buffer);
      } else {
        return;
      }
    }
  }

  void submit(BlockOp op, uint64_t cookie) {
    BlockRequest request;
    request.op = op;
    if (cookie != kFlush) {
      request.offset = DiskOffset(plan_.offset);
      request.length_bytes = plan_.length;
      request.buffers = std::span(&buffers_[cookie], 1);
      plan_.offset += plan_.step;
      plan_.offset %= device_.size_bytes();
      if (plan_.offset > device_.size_bytes() - plan_.length) {
        plan_.offset = 0;
      }
    }
    request.completion = Completion(done, this, cookie);
    ++in_flight_;
    device_.submit(std::move(request));
  }

  EventLoop& loop_;
  BlockDevice& device_;
  Plan plan_;  // offset: of the next request
  AlignedMemory memory_;
  std::vector<iovec> buffers_;
  std::vector<uint32_t> free_;
  uint64_t begun_ = 0;
  uint64_t flushed_ = 0;  // of those begun
  uint64_t in_flight_ = 0;
  bool is_flushing_ = false;
  IoStatus status_ = IoStatus::kOk;
};

Result<Plan> plan_of(const BenchOptions& options) {
  Plan plan{.op = options.is_write ? BlockOp::kWrite : BlockOp::kRead, .count = options.count};
  VMM_ASSIGN_OR_RETURN(plan.length, parse_size(options.size));
  VMM_ASSIGN_OR_RETURN(plan.offset, parse_size(options.offset));
  plan.step = plan.length;
  if (!options.step.empty()) {
    VMM_ASSIGN_OR_RETURN(plan.step, parse_size(options.step));
    plan.step = plan.step == 0 ? plan.length : plan.step;
  }
  plan.depth = options.depth;
  plan.flush_interval = options.flush_interval;
  plan.drains = !options.has_no_drain;
  plan.pattern = static_cast<uint8_t>(options.pattern);
  if (options.flush_interval > 0 && !options.is_write) {
    return fail_configuration("--flush-interval: only writes (-w) are flushed");
  }
  if (options.flush_interval > 0 && options.flush_interval < options.depth) {
    return fail_configuration("--flush-interval {}: must not be smaller than the depth {}",
                              options.flush_interval, options.depth);
  }
  if (plan.length > kMaxMemoryBytes / plan.depth) {
    return fail_configuration("-s, -d: {} requests of {} bytes are more than 1 GiB of buffers", plan.depth,
                              plan.length);
  }
  return plan;
}

void announce(const BenchOptions& options, const Plan& plan) {
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  static_cast<void>(std::printf(
      "Sending %llu %s requests, %llu bytes each, %u in parallel (starting at offset %llu, step size %llu)\n",
      number(plan.count), options.is_write ? "write" : "read", number(plan.length), plan.depth,
      number(plan.offset), number(plan.step)));
  if (plan.flush_interval > 0) {
    static_cast<void>(std::printf("Sending flush every %llu requests\n", number(plan.flush_interval)));
  }
}

Result<int> bench(const BenchOptions& options) {
  VMM_ASSIGN_OR_RETURN(const Plan plan, plan_of(options));
  VMM_ASSIGN_OR_RETURN(const NamedImage named, options.image.named(options.path));
  if (options.is_write && (named.is_shared || named.is_read_only)) {
    return fail_configuration("{}: -w writes to it: -U, force-share=on and read-only=on are for reading only",
                              named.path);
  }
  VMM_ASSIGN_OR_RETURN(const CacheMode cache, cache_mode(options.cache));
  VMM_ASSIGN_OR_RETURN(DiskOptions image, disk_options(named, options.chain, cache));
  image.read_only = !options.is_write;
  image.io = options.engine == "threads" ? EngineKind::kThreads : EngineKind::kIoUring;
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(const auto disk, Disk::open(image, loop));
  if (plan.offset > disk->size_bytes() || plan.length > disk->size_bytes() - plan.offset) {
    return fail_configuration("{}: {} bytes at offset {} are not in its disk of {} bytes", image.path,
                              plan.length, plan.offset, disk->size_bytes());
  }
  if (!options.is_quiet) {
    announce(options, plan);
  }
  const auto seconds = Bench(*loop, disk->device(), plan).run();
  if (!seconds) {
    return std::unexpected(seconds.error().within(image.path));
  }
  if (!options.is_quiet) {
    static_cast<void>(std::printf("Run completed in %3.3f seconds.\n", *seconds));
  }
  return 0;
}

}  // namespace

void declare_bench(CommandLine& command) {
  auto options = std::make_shared<BenchOptions>();
  command.set_footer("With -w what the image holds is overwritten.");
  options->image.add_to(command, "raw, qcow2, qcow or iso", ImageOptions::Use::kEither);
  command.add_option("-c", options->count, "Requests in all (75000 if absent)").type_name("COUNT");
  command.add_option("-d", options->depth, "Requests under way (64 if absent)")
      .between(1, 65536)
      .type_name("DEPTH");
  command.add_option("-s", options->size, "Bytes of each (4k if absent)").type_name("SIZE");
  command.add_option("-S", options->step, "From the beginning of one to the next (if absent, what -s says)")
      .type_name("STEP");
  command.add_option("-o", options->offset, "Of the first one").type_name("OFFSET");
  command.add_option("-t", options->cache, "none, writeback (if absent), writethrough, directsync or unsafe")
      .type_name("CACHE");
  command.add_option("-i", options->engine, "io_uring (if absent; native is the same) or threads")
      .one_of({"io_uring", "native", "threads"})
      .type_name("ENGINE");
  command.add_flag("-n", options->is_native, "As -i native");
  command.add_flag("-w", options->is_write, "Write");
  command.add_option("--pattern", options->pattern, "Byte that is written (0 if absent)")
      .between(0, 255)
      .type_name("N");
  command.add_option("--flush-interval", options->flush_interval, "Flush after so many writes")
      .type_name("N");
  command.add_flag("--no-drain", options->has_no_drain, "Flush while writes are under way");
  options->chain.add_to(command);
  options->chain.add_backing_format_to(command);
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_action([options] { return bench(*options); });
}

}  // namespace vmm::block::tool
