"""HDF5 files: the only room that knows h5py.

The HDF5 library trusts what it reads: a few changed bytes make it run in circles, deaf to signals,
take gigabytes, open other files or end the process. So files from outside are opened by another
process, with limits of memory and time, which answers what is in them.

- `file.File`: a file as a mapping of paths to `nodes`, and arrays that are read from it;
- `created.Created`: a file that is written, whose disk may fill up;
- `library`: h5py, in this process for files that come with refq, else behind `processes` and
  `worker`, which speak in `frames`.
"""
