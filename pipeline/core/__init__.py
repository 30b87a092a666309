"""The arithmetic of the plant: values in, values out; no I/O, no clock, no environment."""
