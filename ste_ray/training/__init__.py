"""Fine-tuning in plain torch: toolkens, batches, the FSDP2 loop and the export."""

import logging

# peft imports it where it is installed; it then misses a package for 4-bit weights, unused here.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
