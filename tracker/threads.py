"""How the threads of the numeric libraries wait for each other."""

import os


def wait_politely() -> None:
    """Let waiting OpenMP threads sleep instead of spin, unless the environment says otherwise.

    A thread that spins at every barrier takes the processor from the thread that it waits for
    wherever fewer processors are free than threads run: in containers, on busy or rented
    machines. There the network was seen to run up to 40 times slower. Call it before torch is
    first imported; later it has no effect.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
