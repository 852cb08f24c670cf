"""k-mer ids in, logits out. Never opens a genome or a track."""
