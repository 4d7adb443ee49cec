"""Optimizations: equivalents of the networks' modules that take less time.

`plan.PLAN` lists them. It is a module of its own, so that the model families, which the quantized
trunk knows, can use the modules beside it.
"""
