"""Fine-tuning in plain torch: toolkens, batches, the FSDP2 loop and the export."""
