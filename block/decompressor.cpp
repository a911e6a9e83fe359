#include "block/decompressor.h"

#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

namespace vmm::block {
namespace {

struct FreeInflate {
  void operator()(libdeflate_decompressor* decompressor) const { libdeflate_free_decompressor(decompressor); }
};

// libdeflate takes half of zlib's time, and wants streams that end where the cluster does. Others, cut off by
// the reader when it has its cluster, are zlib's.
class Inflate final : public Decompressor {
 public:
  Inflate() = default;
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;
  ~Inflate() override {
    if (is_ready_) {
      inflateEnd(&stream_);
    }
  }

  bool run(std::span<const std::byte> stored, std::span<std::byte> plain) override {
    return run_whole(stored, plain) || run_stream(stored, plain);
  }

 private:
  bool run_whole(std::span<const std::byte> stored, std::span<std::byte> plain) {
    if (whole_ == nullptr) {
      whole_.reset(libdeflate_alloc_decompressor());
    }
    size_t read_bytes = 0;  // `stored` may go on after the stream
    return whole_ != nullptr &&
           libdeflate_deflate_decompress_ex(whole_.get(), stored.data(), stored.size(), plain.data(),
                                            plain.size(), &read_bytes, nullptr) == LIBDEFLATE_SUCCESS;
  }

  bool run_stream(std::span<const std::byte> stored, std::span<std::byte> plain) {
    is_ready_ = is_ready_ || inflateInit2(&stream_, -MAX_WBITS) == Z_OK;
    if (!is_ready_ || inflateReset(&stream_) != Z_OK) {
      return false;
    }
    // zlib's interface has no const for what it only reads.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data()));
    stream_.avail_in = static_cast<uInt>(stored.size());
    stream_.next_out = reinterpret_cast<Bytef*>(plain.data());
    stream_.avail_out = static_cast<uInt>(plain.size());
    const int result = inflate(&stream_, Z_FINISH);
    // "decompression stops when it has produced a cluster of data"; Z_BUF_ERROR: input is left over.
    return (result == Z_STREAM_END || result == Z_BUF_ERROR) && stream_.avail_out == 0;
  }

  // Each is made when it is needed: most images have nothing that is compressed.
  std::unique_ptr<libdeflate_decompressor, FreeInflate> whole_;
  z_stream stream_{};
  bool is_ready_ = false;
};

struct FreeZstd {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

class ZstdDecompressor final : public Decompressor {
 public:
  bool run(std::span<const std::byte> stored, std::span<std::byte> plain) override {
    if (stream_ == nullptr) {
      stream_.reset(ZSTD_createDStream());
    }
    return run_frame(stored, plain) || run_stream(stored, plain);
  }

 private:
  // One frame, as writers store a cluster: that is told at once, and done without a copy.
  bool run_frame(std::span<const std::byte> stored, std::span<std::byte> plain) {
    const size_t length = ZSTD_findFrameCompressedSize(stored.data(), stored.size());
    return stream_ != nullptr && ZSTD_isError(length) == 0 &&
           ZSTD_decompressDCtx(stream_.get(), plain.data(), plain.size(), stored.data(), length) ==
               plain.size();
  }

  bool run_stream(std::span<const std::byte> stored, std::span<std::byte> plain) {
    if (stream_ == nullptr || ZSTD_isError(ZSTD_initDStream(stream_.get())) != 0) {
      return false;
    }
    ZSTD_inBuffer in{.src = stored.data(), .size = stored.size(), .pos = 0};
    ZSTD_outBuffer out{.dst = plain.data(), .size = plain.size(), .pos = 0};
    // The stored bytes may go on after the frame; each turn gets on or ends it.
    while (out.pos < out.size) {
      const size_t before_in = in.pos;
      const size_t before_out = out.pos;
      const size_t result = ZSTD_decompressStream(stream_.get(), &out, &in);
      if (ZSTD_isError(result) != 0 || (in.pos == before_in && out.pos == before_out)) {
        return false;
      }
    }
    return true;
  }

  std::unique_ptr<ZSTD_DStream, FreeZstd> stream_;
};

}  // namespace

std::unique_ptr<Decompressor> make_deflate_decompressor() { return std::make_unique<Inflate>(); }
std::unique_ptr<Decompressor> make_zstd_decompressor() { return std::make_unique<ZstdDecompressor>(); }

}  // namespace vmm::block
