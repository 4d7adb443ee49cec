"""Fuzzers and fault injection: what broken or hostile input makes of trackd."""
