"""What the library costs, each figure as a ratio to something fixed: `make bench`."""
