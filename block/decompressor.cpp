#include "block/decompressor.h"

#include <zlib.h>
#include <zstd.h>

namespace vmm::block {
namespace {

class Inflate final : public Decompressor {
 public:
  Inflate() { is_ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK; }
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;
  ~Inflate() override {
    if (is_ready_) {
      inflateEnd(&stream_);
    }
  }

  bool run(std::span<const std::byte> stored, std::span<std::byte> plain) override {
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

 private:
  z_stream stream_{};
  bool is_ready_ = false;
};

class ZstdDecompressor final : public Decompressor {
 public:
  ZstdDecompressor() : stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {}

  bool run(std::span<const std::byte> stored, std::span<std::byte> plain) override {
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

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
};

}  // namespace

std::unique_ptr<Decompressor> make_deflate_decompressor() { return std::make_unique<Inflate>(); }
std::unique_ptr<Decompressor> make_zstd_decompressor() { return std::make_unique<ZstdDecompressor>(); }

}  // namespace vmm::block
