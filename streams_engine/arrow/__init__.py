"""Record batches and Arrow buffers: rebatch, slice, check."""
