"""What networks share: reading, heads, training, export, and the half that predicts.

    settings.py    what every network can be set to; the hooks that a family fills
    sizes.py       the size dial
    wordpiece.py   training a tokenizer; reading.py: texts → ids → windows → matrices
    aim.py         what is asked; examples.py: a lesson as ids and targets; batches.py
    encoder.py     what a network's body offers; encoders/: those we have          (torch)
    heads.py       what stands on it for each task; crf.py                         (torch)
    network.py     an encoder and a head; initial.py: their first weights          (torch)
    training.py    the loop; optimizers.py, checkpoint.py, judging.py, device.py   (torch)
    calibrate.py   what validation tells: temperatures, thresholds, intervals
    tags.py        entities ↔ tags of tokens, exact decoding
    memory.py      what training will need, told before; estimate.py: how long     (torch)
    fit.py         from a lesson to the finished folder                            (torch)
    graph.py       ONNX building blocks; export.py, card.py: the folder            (torch, onnx)
    predict.py     the half that predicts, on ONNX Runtime

Importing the package, `settings` or `predict` imports neither torch nor transformers.
"""
