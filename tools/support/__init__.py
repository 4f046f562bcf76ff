"""What tools/demo, tools/test, tools/check and tools/bench/run do; nothing but Python is needed to start."""
