// NewFile: the file of an image that is being made. It gets its name when the image is complete.
//
// Until then it lies beside, as NAME.XXXXXX.part, and goes away if the image does not come about; a process
// that is killed leaves it there, and what had the name before is as it was. A block device is written in
// place. Threads: one. Errors name the file.
#pragma once

#include <string>

#include "block/image_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

class NewFile {
 public:
  // An image that has the name must not be in use; it stays locked, for writing, until this one takes its
  // place.
  static Result<NewFile> create(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  // Who may read and write it: as another image, whose contents it is to hold, but that its owner may do
  // both.
  Status take_mode_of(const std::string& image) const;

  // Where to write to.
  const std::string& path() const { return path_; }
  bool is_block_device() const { return path_ == name_; }

  // What was written becomes durable, and gets the name. With may_replace = false what has the name meanwhile
  // keeps it, and that is an error. REQUIRES: nothing is written any more.
  Status keep(bool may_replace = true);
  // Gets the name, and is durable when the host has written it: a crash of the host before may leave neither
  // the new image nor the old one.
  Status keep_unflushed();

 private:
  NewFile(std::string name, ImageFile old) : name_(std::move(name)), old_(std::move(old)) {}
  Status make_beside(unsigned mode);
  Status take_name(bool may_replace);

  std::string name_;  // without symbolic links
  std::string path_;
  ImageFile old_;
  bool is_temporary_ = false;
  int place_ = -1;  // among the unfinished ones; -1: none
};

// For the handler of a signal that ends the program (signal-safety(7)): files that are being made go away.
// False: there were none. Those that have just got their name keep it.
bool remove_unfinished_files();

// What was written to the file, by whomever, becomes durable.
Status flush_file(const std::string& path);

}  // namespace vmm::block
