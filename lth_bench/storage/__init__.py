"""Everything on disk: whole or absent files, sealed JSON, records, tensors, the store of segments, leases."""
