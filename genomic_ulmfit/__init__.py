"""genome + intervals -> SeqRecords -> k-mer ids -> language model -> classifier -> scored intervals -> tracks."""
