"""The family `transformer`: a BERT-class classifier, trained from scratch on your own texts.

    family.py      the settings; what they mean; nothing heavy is imported
    sizes.py       the size dial: what each size stands for
    tokenizer.py   training the tokenizer; texts → ids → windows
    estimate.py    a probe of a few real steps, and the choice of size and epochs
    fit.py         the training run, from frames to the finished folder
    engine.py      the network's forward pass, its loss, its optimizer     (torch)
    calibrate.py   the temperature that makes probabilities honest
    card.py        the model card
    checkpoint.py  what a killed run goes on from                          (torch)
    export.py      the Hugging Face layout and `model.onnx`                (torch, onnx)
    predict.py     the half that predicts, on ONNX Runtime

Importing the package imports neither torch nor transformers.
"""

from feilun.models.transformer.family import Transformer

__all__ = ["Transformer"]
