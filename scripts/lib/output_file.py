"""Files that scripts write where a person says."""

import os
import stat


def place_for(file):
    """Where to write what is to be `file`: the end of a symbolic link. What is there and no regular file is not written over."""
    place = os.path.realpath(file)
    if os.path.isdir(place):
        raise IsADirectoryError(f"{file} is a folder; name a file in it")
    if os.path.lexists(place) and not stat.S_ISREG(os.stat(place).st_mode):
        raise FileExistsError(f"{file} is no regular file, and is not written over; name another file")
    return place
