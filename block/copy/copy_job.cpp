#include "block/copy/copy_job.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "block/host_file.h"
#include "block/io_vector.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

constexpr uint64_t kChunkBytes = uint64_t{1} << 20U;
constexpr uint64_t kMaxZeroesBytes = uint64_t{256} << 20U;
// Of one chunk.
constexpr uint32_t kMaxWritesInFlight = 16;

bool is_same_place(const Sources::Run& first, const Sources::Run& second) {
  return first.kind == Sources::Kind::kData && second.kind == Sources::Kind::kData && first.offset &&
         first.offset == second.offset && first.file->is_same_file(*second.file);
}

}  // namespace

CopyJob::CopyJob(EventLoop& loop, Sources& sources, BlockDevice& target, std::string target_path,
                 const CopyOptions& options, Progress progress)
    : loop_(loop),
      sources_(sources),
      target_(target),
      target_path_(std::move(target_path)),
      options_(options),
      progress_(std::move(progress)),
      size_(std::min(sources.size_bytes(), target.size_bytes())),
      chunk_bytes_(std::max(kChunkBytes / options.unit_bytes, uint64_t{1}) * options.unit_bytes) {}

CopyJob::~CopyJob() { VMM_CHECK(under_way_.empty(), "a copy was ended with requests in flight"); }

Status CopyJob::make_chunks() {
  if (options_.is_compressed) {
    workers_ = std::make_unique<WorkerPool>(loop_, options_.requests);
    for (size_t i = 0; i < workers_->count(); ++i) {
      compressors_.push_back(make_compressor(target_.compressed_writes()->compression()));
      if (compressors_.back() == nullptr) {
        return fail("{}: the host is out of memory", target_path_);
      }
    }
  }
  for (uint32_t i = 0; i < options_.requests; ++i) {
    Chunk& chunk = *chunks_.emplace_back(std::make_unique<Chunk>());
    chunk.job = this;
    chunk.data = make_aligned_memory(static_cast<size_t>(chunk_bytes_));
    const bool has_two = options_.is_compressed || options_.shown != nullptr;
    if (has_two) {
      chunk.stored = make_aligned_memory(static_cast<size_t>(chunk_bytes_));
    }
    if (chunk.data == nullptr || (has_two && chunk.stored == nullptr)) {
      return fail("{}: the host is out of memory; fewer requests (-m) need less", target_path_);
    }
    free_.push_back(&chunk);
  }
  return {};
}

// A rate is kept on the average, from the beginning.
EventLoop::Duration CopyJob::time_till_next() const {
  if (options_.bytes_per_second == 0) {
    return {};
  }
  constexpr double kMostSeconds = 1e9;
  const double seconds = std::min(
      static_cast<double>(data_bytes_) / static_cast<double>(options_.bytes_per_second), kMostSeconds);
  const auto due =
      begin_ + std::chrono::duration_cast<EventLoop::Duration>(std::chrono::duration<double>(seconds));
  return std::max(due - std::chrono::steady_clock::now(), EventLoop::Duration(0));
}

Status CopyJob::run() {
  VMM_TRY(make_chunks());
  begin_ = std::chrono::steady_clock::now();
  while (!under_way_.empty() || (status_ && position_ < size_)) {
    const bool may_begin = status_ && position_ < size_ && !free_.empty() && can_read();
    const EventLoop::Duration wait = may_begin ? time_till_next() : EventLoop::Duration(0);
    if (may_begin && wait == EventLoop::Duration(0)) {
      auto chunk = next_chunk();
      if (!chunk) {
        fail_with(std::unexpected(chunk.error()));
      } else if (*chunk != nullptr) {
        under_way_.push_back(*chunk);
        start_read(**chunk);
      }
      continue;
    }
    constexpr EventLoop::Duration kTurn = std::chrono::seconds(1);
    loop_.run_once(may_begin ? std::min(wait, kTurn) : kTurn);
  }
  VMM_TRY(status_);
  return flush();
}

void CopyJob::fail_with(Status status) {
  if (status_) {
    status_ = std::move(status);
  }
}

// --- What comes next ---

Result<Sources::Run> CopyJob::source_run(uint64_t offset) const {
  if (options_.shown != nullptr) {
    return unlike_run(offset);
  }
  VMM_ASSIGN_OR_RETURN(Sources::Run run,
                       sources_.run_at(offset, size_ - offset, options_.target_has_backing));
  if (options_.skips_absent && !run.is_present) {
    run.kind = Sources::Kind::kNothing;
  }
  if (options_.target_has_backing && run.kind == Sources::Kind::kZeroes) {
    if (offset >= options_.backing_bytes) {
      run.kind = Sources::Kind::kNothing;
    } else {
      run.length = std::min(run.length, options_.backing_bytes - offset);
    }
  }
  if (options_.writes_zeroes && run.kind == Sources::Kind::kZeroes) {
    run.kind = Sources::Kind::kData;
  }
  return run;
}

// What the target has of its own stays, and so does what it will show anyway: zeroes, or the same bytes of a
// file that both chains have.
Result<Sources::Run> CopyJob::unlike_run(uint64_t offset) const {
  VMM_ASSIGN_OR_RETURN(Sources::Run run, sources_.run_at(offset, size_ - offset, false));
  if (run.is_own) {
    run.kind = Sources::Kind::kNothing;
    return run;
  }
  Sources::Run shown{.kind = Sources::Kind::kZeroes, .length = run.length};
  if (offset < options_.shown->size_bytes()) {
    const uint64_t length = std::min(run.length, options_.shown->size_bytes() - offset);
    VMM_ASSIGN_OR_RETURN(shown, options_.shown->run_at(offset, length, false));
  }
  run.length = std::min(run.length, shown.length);
  const bool are_zeroes = run.kind == Sources::Kind::kZeroes && shown.kind == Sources::Kind::kZeroes;
  run.kind = are_zeroes || is_same_place(run, shown) ? Sources::Kind::kNothing : Sources::Kind::kData;
  return run;
}

// Runs that follow each other are one, as far as is of use.
Result<Sources::Run> CopyJob::run_at(uint64_t offset) {
  if (run_.length == 0 || offset < run_offset_ || offset >= run_offset_ + run_.length) {
    VMM_ASSIGN_OR_RETURN(run_, source_run(offset));
    run_offset_ = offset;
    is_run_whole_ = false;
  }
  uint64_t end = run_offset_ + run_.length;
  while (!is_run_whole_ && end - offset < chunk_bytes_ && end < size_) {
    VMM_ASSIGN_OR_RETURN(const Sources::Run next, source_run(end));
    is_run_whole_ = next.kind != run_.kind;
    end += is_run_whole_ ? 0 : next.length;
  }
  run_.length = end - run_offset_;
  return Sources::Run{.kind = run_.kind, .length = end - offset};
}

// nullptr: there is nothing to be done for what comes next.
Result<CopyJob::Chunk*> CopyJob::next_chunk() {
  VMM_ASSIGN_OR_RETURN(const Sources::Run run, run_at(position_));
  const bool is_last = position_ + run.length == size_;
  const uint64_t whole = is_last ? run.length : align_down(run.length, options_.unit_bytes);
  Chunk* chunk = nullptr;
  uint64_t length = whole;
  if (run.kind == Sources::Kind::kData || whole == 0) {
    VMM_ASSIGN_OR_RETURN(length, data_length());
    chunk = free_.back();
    chunk->is_zeroes = false;
  } else if (run.kind == Sources::Kind::kZeroes && !options_.target_is_zero) {
    length = std::min(whole, align_down(kMaxZeroesBytes, options_.unit_bytes));
    chunk = free_.back();
    chunk->is_zeroes = true;
  }
  if (chunk == nullptr) {
    done_ += length;
    progress_(done_, size_);
  } else {
    free_.pop_back();
    data_bytes_ += chunk->is_zeroes ? 0 : length;
    chunk->offset = position_;
    chunk->length = length;
    chunk->written = 0;
  }
  position_ += length;
  return chunk;
}

// To the next whole unit that need not be read.
Result<uint64_t> CopyJob::data_length() {
  const uint64_t limit = std::min(size_, position_ + chunk_bytes_);
  uint64_t end = position_;
  while (end < limit) {
    VMM_ASSIGN_OR_RETURN(const Sources::Run run, run_at(end));
    const uint64_t unit = position_ + align_up(end - position_, options_.unit_bytes);
    const bool has_unit = end + run.length >= unit + options_.unit_bytes || end + run.length == size_;
    if (run.kind != Sources::Kind::kData && unit > position_ && unit < limit && has_unit) {
      return unit - position_;
    }
    end += run.length;
  }
  return limit - position_;
}

// --- Reading ---

bool CopyJob::can_read() const {
  return sources_.can_accept() && (options_.shown == nullptr || options_.shown->can_accept());
}

void CopyJob::start_read(Chunk& chunk) {
  chunk.state = State::kReading;
  if (chunk.is_zeroes) {
    end_of_read(chunk);
    return;
  }
  // So that no end of a part is that of the chunk before all parts have begun.
  ++chunk.in_flight;
  read(sources_, chunk, chunk.data.get(), read_done);
  if (options_.shown != nullptr) {
    read(*options_.shown, chunk, chunk.stored.get(), shown_done);
  }
  if (--chunk.in_flight == 0) {
    end_of_read(chunk);
  }
}

// Behind the end there are zeroes.
void CopyJob::read(const Sources& from, Chunk& chunk, std::byte* to, Completion::Function done) {
  const uint64_t end = std::min(chunk.offset + chunk.length, std::max(from.size_bytes(), chunk.offset));
  const uint64_t there = end - chunk.offset;
  std::memset(to + there, 0, static_cast<size_t>(chunk.length - there));
  for (uint64_t at = 0; at < there;) {
    const Sources::Part part = from.first_part(chunk.offset + at, there - at);
    if (part.disk == nullptr) {
      std::memset(to + at, 0, static_cast<size_t>(part.length));
    } else {
      chunk.vectors.push_back({.iov_base = to + at, .iov_len = static_cast<size_t>(part.length)});
      BlockRequest request;
      request.op = BlockOp::kRead;
      request.offset = DiskOffset(part.offset);
      request.length_bytes = part.length;
      request.buffers = std::span(&chunk.vectors.back(), 1);
      request.completion = Completion(done, &chunk, chunk.offset + at);
      ++chunk.in_flight;
      part.disk->device().submit(std::move(request));
    }
    at += part.length;
  }
}

void CopyJob::read_done(void* context, uint64_t cookie, IoStatus status) {
  auto& chunk = *static_cast<Chunk*>(context);
  chunk.job->part_done(chunk, chunk.job->sources_, cookie, status);
}

void CopyJob::shown_done(void* context, uint64_t cookie, IoStatus status) {
  auto& chunk = *static_cast<Chunk*>(context);
  chunk.job->part_done(chunk, *chunk.job->options_.shown, cookie, status);
}

void CopyJob::part_done(Chunk& chunk, const Sources& from, uint64_t offset, IoStatus status) {
  if (status != IoStatus::kOk) {
    const Sources::Part part = from.first_part(offset, 1);
    fail_with(
        fail("{} cannot be read from offset {} on: {}", part.disk->path(), part.offset, status_text(status)));
  }
  if (--chunk.in_flight == 0) {
    end_of_read(chunk);
  }
}

void CopyJob::end_of_read(Chunk& chunk) {
  chunk.vectors.clear();
  if (!options_.is_compressed || chunk.is_zeroes || !status_) {
    chunk.state = State::kWriting;
    pump();
    return;
  }
  chunk.state = State::kCompressing;
  workers_->run([this, &chunk](size_t worker) { compress(chunk, *compressors_[worker]); },
                [this, &chunk] {
                  chunk.state = State::kWriting;
                  pump();
                });
}

// On a worker's thread.
void CopyJob::compress(Chunk& chunk, Compressor& compressor) const {
  const uint64_t unit = options_.unit_bytes;
  chunk.stored_bytes.clear();
  for (uint64_t begin = 0; begin < chunk.length; begin += unit) {
    std::byte* const data = chunk.data.get() + begin;
    const uint64_t length = std::min(unit, chunk.length - begin);
    std::memset(data + length, 0, static_cast<size_t>(unit - length));
    const std::span<const std::byte> plain(data, static_cast<size_t>(unit));
    const std::span<std::byte> stored(chunk.stored.get() + begin, static_cast<size_t>(unit - 1));
    chunk.stored_bytes.push_back(is_zero_unit(chunk, begin) ? 0 : compressor.run(plain, stored));
  }
}

// --- Writing ---

void CopyJob::pump() {
  if (std::exchange(is_pumping_, true)) {
    wants_pump_ = true;
    return;
  }
  do {
    wants_pump_ = false;
    write_in_order();
  } while (wants_pump_);
  is_pumping_ = false;
}

void CopyJob::write_in_order() {
  for (size_t i = 0; i < under_way_.size();) {
    Chunk& chunk = *under_way_[i];
    if (is_written(chunk)) {
      under_way_.erase(under_way_.begin() + static_cast<ptrdiff_t>(i));
      done_ += chunk.length;
      free_.push_back(&chunk);
      progress_(done_, size_);
      continue;
    }
    if (chunk.written < chunk.length && !options_.is_out_of_order) {
      return;
    }
    ++i;
  }
}

bool CopyJob::is_written(Chunk& chunk) {
  if (chunk.state != State::kWriting) {
    return false;
  }
  if (!status_) {
    chunk.written = chunk.length;
  }
  write_some(chunk);
  return chunk.written == chunk.length && chunk.in_flight == 0;
}

void CopyJob::write_some(Chunk& chunk) {
  while (chunk.written < chunk.length && chunk.in_flight < kMaxWritesInFlight && target_.can_accept()) {
    const uint64_t begin = chunk.written;
    if (chunk.is_zeroes) {
      chunk.written = chunk.length;
      submit_write(chunk, BlockOp::kWriteZeroes, 0, chunk.length);
      continue;
    }
    Unit kind = Unit::kData;
    const uint64_t length = stretch(chunk, kind);
    chunk.written += length;
    // Of a cluster that the target has more of, only the part that is copied is written.
    const bool is_cluster =
        length == options_.unit_bytes || chunk.offset + begin + length == target_.size_bytes();
    const size_t stored =
        options_.is_compressed && is_cluster ? chunk.stored_bytes[begin / options_.unit_bytes] : 0;
    if (kind == Unit::kAsShown || (kind == Unit::kZeroes && options_.target_is_zero)) {
      continue;
    }
    if (kind == Unit::kZeroes) {
      submit_write(chunk, BlockOp::kWriteZeroes, begin, length);
    } else if (stored > 0) {
      submit_stored(chunk, begin, length, stored);
    } else {
      submit_write(chunk, BlockOp::kWrite, begin, length);
    }
  }
}

bool CopyJob::is_zero_unit(const Chunk& chunk, uint64_t begin) const {
  return !options_.writes_zeroes && options_.finds_zeroes &&
         bytes_are_zero({chunk.data.get() + begin,
                         static_cast<size_t>(std::min(options_.unit_bytes, chunk.length - begin))});
}

CopyJob::Unit CopyJob::unit_at(const Chunk& chunk, uint64_t begin) const {
  const auto length = static_cast<size_t>(std::min(options_.unit_bytes, chunk.length - begin));
  if (options_.shown != nullptr &&
      std::memcmp(chunk.data.get() + begin, chunk.stored.get() + begin, length) == 0) {
    return Unit::kAsShown;
  }
  return is_zero_unit(chunk, begin) ? Unit::kZeroes : Unit::kData;
}

// How much of the chunk is to be written in the same way from where it is on.
uint64_t CopyJob::stretch(const Chunk& chunk, Unit& kind) const {
  uint64_t end = std::min(chunk.written + options_.unit_bytes, chunk.length);
  kind = unit_at(chunk, chunk.written);
  while (!options_.is_compressed && end < chunk.length && unit_at(chunk, end) == kind) {
    end = std::min(end + options_.unit_bytes, chunk.length);
  }
  return end - chunk.written;
}

void CopyJob::submit_write(Chunk& chunk, BlockOp op, uint64_t begin, uint64_t length) {
  BlockRequest request;
  request.op = op;
  request.offset = DiskOffset(chunk.offset + begin);
  request.length_bytes = length;
  if (op == BlockOp::kWrite) {
    chunk.vectors.push_back({.iov_base = chunk.data.get() + begin, .iov_len = static_cast<size_t>(length)});
    request.buffers = std::span(&chunk.vectors.back(), 1);
  } else {
    request.may_unmap = true;
  }
  request.completion = Completion(write_done, &chunk, chunk.offset + begin);
  ++chunk.in_flight;
  target_.submit(std::move(request));
}

void CopyJob::submit_stored(Chunk& chunk, uint64_t begin, uint64_t length, size_t stored) {
  BlockRequest request;
  request.op = BlockOp::kWrite;
  request.offset = DiskOffset(chunk.offset + begin);
  request.length_bytes = length;
  chunk.vectors.push_back({.iov_base = chunk.stored.get() + begin, .iov_len = stored});
  request.buffers = std::span(&chunk.vectors.back(), 1);
  request.completion = Completion(write_done, &chunk, chunk.offset + begin);
  ++chunk.in_flight;
  target_.compressed_writes()->submit_compressed(std::move(request));
}

void CopyJob::write_done(void* context, uint64_t cookie, IoStatus status) {
  auto& chunk = *static_cast<Chunk*>(context);
  CopyJob& job = *chunk.job;
  if (status != IoStatus::kOk) {
    job.fail_with(
        fail("{} cannot be written from offset {} on: {}", job.target_path_, cookie, status_text(status)));
  }
  if (--chunk.in_flight == 0) {
    chunk.vectors.clear();
  }
  job.pump();
}

Status CopyJob::flush() {
  BlockRequest request;
  request.op = BlockOp::kFlush;
  request.completion = Completion(flush_done, this, 0);
  target_.submit(std::move(request));
  while (!flushed_) {
    loop_.run_once(std::chrono::seconds(1));
  }
  if (*flushed_ != IoStatus::kOk) {
    return fail("{} cannot be flushed: {}", target_path_, status_text(*flushed_));
  }
  return {};
}

void CopyJob::flush_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  static_cast<CopyJob*>(context)->flushed_ = status;
}

}  // namespace vmm::block
