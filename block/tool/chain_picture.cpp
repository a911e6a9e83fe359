#include "block/tool/chain_picture.h"
#include "vmm/base/printable.h"
#include "vmm/base/size.h"

#include <algorithm>
#include <cstdint>

namespace vmm::block::tool {
namespace {

using Tree = nlohmann::ordered_json;

struct Row {
  std::string name;
  std::string format;
  std::string size;
  std::string notes;
};

// Disks whose data lie in another file have none of their own.
std::string allocation_text(const Tree& tree, bool has_data_file) {
  const auto size = tree["virtual-size"].get<uint64_t>();
  const auto allocated = tree.value("actual-size", uint64_t{0});
  if (has_data_file) {
    return "data in another file";
  }
  if (allocated >= size) {
    return "full, " + size_text(allocated) + " allocated";
  }
  // Of a disk that is not empty, as there is less than that.
  const double percent = static_cast<double>(allocated) * 100 / static_cast<double>(size);
  return fmt::format("thin, {} allocated ({:.{}f}%)", size_text(allocated), percent, percent < 10 ? 1 : 0);
}

std::string counted(size_t count, const char* what) {
  return fmt::format(", {} {}{}", count, what, count == 1 ? "" : "s");
}

std::string encryption_text(const Tree& tree, const Tree& data) {
  if (!tree.value("encrypted", false)) {
    return "";
  }
  const Tree encrypt = data.value("encrypt", Tree::object());
  if (encrypt.value("format", "aes") != "luks") {
    return ", encrypted with the weak AES of old";
  }
  const Tree slots = encrypt.value("slots", Tree::array());
  const auto used =
      std::ranges::count_if(slots, [](const Tree& slot) { return slot.value("active", false); });
  return fmt::format(", encrypted with LUKS ({} of {} key slots used)", used, slots.size());
}

std::string notes_of(const ImageInfo& info) {
  const Tree& tree = info.tree;
  const Tree data = tree.value("format-specific", Tree::object()).value("data", Tree::object());
  std::string notes = allocation_text(tree, data.contains("data-file"));
  notes += encryption_text(tree, data);
  if (tree.contains("snapshots")) {
    notes += counted(tree["snapshots"].size(), "snapshot");
  }
  if (data.contains("bitmaps")) {
    notes += counted(data["bitmaps"].size(), "bitmap");
  }
  if (data.value("compression-type", "zlib") != "zlib") {
    notes += ", compresses with " + data["compression-type"].get<std::string>();
  }
  notes += tree.value("dirty-flag", false) ? ", not cleanly closed" : "";
  notes += data.value("corrupt", false) ? ", CORRUPT" : "";
  return notes;
}

size_t widest(const std::vector<Row>& rows, std::string Row::* field) {
  size_t width = 0;
  for (const Row& row : rows) {
    width = std::max(width, (row.*field).size());
  }
  return width;
}

}  // namespace

std::string chain_picture(const std::vector<ImageInfo>& infos) {
  std::vector<Row> rows;
  rows.reserve(infos.size());
  for (const ImageInfo& info : infos) {
    rows.push_back({.name = printable(info.tree["filename"].get<std::string>()),
                    .format = info.tree["format"].get<std::string>(),
                    .size = size_text(info.tree["virtual-size"].get<uint64_t>()),
                    .notes = notes_of(info)});
  }
  std::string picture;
  for (const Row& row : rows) {
    picture += picture.empty() ? "" : "  |\n";
    picture += fmt::format("{:<{}}  {:<{}}  {:>{}}  {}\n", row.name, widest(rows, &Row::name), row.format,
                           widest(rows, &Row::format), row.size, widest(rows, &Row::size), row.notes);
  }
  if (infos.back().backing_path) {
    picture +=
        fmt::format("  |\n{}  (--backing-chain shows it too)\n", printable(*infos.back().backing_path));
  }
  return picture;
}

}  // namespace vmm::block::tool
