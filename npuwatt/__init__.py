"""What a token costs, in joules and seconds, on a GPU, an NPU or a processing-in-memory board."""

__version__ = "0.1.0"
