"""HDF5 files that appear whole or not at all, and objects in S3 and GCS."""
