"""Clip features: what LSSNet, LGSNet and MC-WES see of a stream, computed once and shared."""
