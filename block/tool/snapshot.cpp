// vmm-img snapshot: the internal snapshots of a qcow2 image.
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "block/changed_image.h"
#include "block/qcow2/snapshot.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/image_info.h"
#include "block/tool/image_options.h"
#include "block/tool/secrets.h"
#include "block/tool/snapshot_list.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

struct SnapshotOptions {
  std::string path;
  ImageOptions image;
  Secrets secrets;
  std::string create;
  std::string apply;
  std::string remove;
  std::optional<Option> creates;
  std::optional<Option> applies;
  std::optional<Option> removes;
  bool lists = false;  // as without anything else
  bool is_quiet = false;
};

qcow2::NewSnapshot new_snapshot(const std::string& name) {
  using std::chrono::duration_cast;
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {.name = name,
          .date_seconds = static_cast<uint32_t>(duration_cast<seconds>(now).count()),
          .date_nanoseconds = static_cast<uint32_t>((duration_cast<nanoseconds>(now) % seconds(1)).count())};
}

Status change(const SnapshotOptions& options, const NamedImage& named) {
  if (named.is_shared || named.is_read_only) {
    return fail_configuration(
        "{}: a change of snapshots writes to it: -U, force-share=on and read-only=on are for -l only",
        named.path);
  }
  VMM_ASSIGN_OR_RETURN(ChangedImage image, open_changed_image(named.path));
  if (options.creates->is_given()) {
    return qcow2::create_snapshot(*image.file, image.header, new_snapshot(options.create));
  }
  return options.applies->is_given() ? qcow2::apply_snapshot(*image.file, image.header, options.apply)
                                     : qcow2::delete_snapshot(*image.file, image.header, options.remove);
}

Status list(const NamedImage& named) {
  VMM_ASSIGN_OR_RETURN(const ImageInfo info, image_info(named.path, named.format, named.is_shared));
  if (info.tree.contains("snapshots")) {
    print_snapshots(info.tree["snapshots"]);
  }
  return {};
}

Result<int> snapshot(const SnapshotOptions& options) {
  const bool is_change =
      options.creates->is_given() || options.applies->is_given() || options.removes->is_given();
  VMM_ASSIGN_OR_RETURN(const NamedImage image, options.image.named(options.path));
  VMM_TRY(options.secrets.passphrases());
  if (image.format != "qcow2" && is_change) {
    VMM_TRY(disk_format(image.format));
    return fail_configuration("{}: the format {} has no internal snapshots; qcow2 has", image.path,
                              image.format);
  }
  VMM_TRY(is_change ? change(options, image) : list(image));
  return 0;
}

}  // namespace

void declare_snapshot(CommandLine& command) {
  auto options = std::make_shared<SnapshotOptions>();
  options->image.add_to(command, "qcow2 (what is used if absent)", ImageOptions::Use::kEither);
  options->image.set_only_format("qcow2");
  options->secrets.add_to(command);
  const Option lists =
      command.add_flag("-l", options->lists, "List them (what is done if nothing else is said)");
  const Option creates = command.add_option("-c", options->create, "Make one").type_name("NAME");
  const Option applies =
      command.add_option("-a", options->apply, "The disk becomes what it was").type_name("NAME");
  const Option removes = command.add_option("-d", options->remove, "Delete one").type_name("NAME");
  creates.excludes(lists).excludes(applies).excludes(removes);
  applies.excludes(lists).excludes(removes);
  removes.excludes(lists);
  options->creates = creates;
  options->applies = applies;
  options->removes = removes;
  command.add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", options->path).required().type_name("");
  command.set_footer("NAME may be an ID too. No other program may use the image meanwhile.");
  command.set_action([options] { return snapshot(*options); });
}

}  // namespace vmm::block::tool
