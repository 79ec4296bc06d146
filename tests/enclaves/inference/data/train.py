#!/usr/bin/env python3
"""Trains the network of the inference example and writes weights.bin and digits.bin beside this file.

Needs scikit-learn (PyPI), whose copy of the data it uses. Runs the quantised network itself over the images that it did
not train with, in integers, and writes its answers beside the labels: what the enclave must give again, image by image.
README.md has the formats.
"""

import pathlib

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HIDDEN = 24
TEST_IMAGES = 300
SHIFT = 16
HERE = pathlib.Path(__file__).parent


def quantised(weights, scale_in):
    """Weights as int8, and what one step of them times one step of the input is worth."""
    step = numpy.abs(weights).max() / 127
    return numpy.rint(weights / step).astype(numpy.int64), step * scale_in


def main():
    images, labels = load_digits(return_X_y=True)
    images = images.astype(numpy.int64)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=TEST_IMAGES, random_state=1, stratify=labels
    )
    network = MLPClassifier(HIDDEN, alpha=0.5, max_iter=2000, random_state=1)
    network.fit(train / 16, train_labels)

    (first, second), (first_bias, second_bias) = network.coefs_, network.intercepts_
    w1, unit1 = quantised(first.T, 1 / 16)
    b1 = numpy.rint(first_bias / unit1).astype(numpy.int64)
    highest = numpy.maximum(0, train @ w1.T + b1).max()
    multiplier = int(127 * (1 << SHIFT) // highest)
    w2, unit2 = quantised(second.T, unit1 * (1 << SHIFT) / multiplier)
    b2 = numpy.rint(second_bias / unit2).astype(numpy.int64)

    hidden = numpy.clip(((test @ w1.T + b1) * multiplier) >> SHIFT, 0, 127)
    answers = (hidden @ w2.T + b2).argmax(axis=1)
    exact = (network.predict(test / 16) == test_labels).sum()
    right = (answers == test_labels).sum()
    print(f"{right} of {TEST_IMAGES} right in int8, {exact} in floating point")

    header = bytes([HIDDEN, SHIFT]) + multiplier.to_bytes(2, "little")
    layers = [w1.astype("i1"), b1.astype("<i4"), w2.astype("i1"), b2.astype("<i4")]
    (HERE / "weights.bin").write_bytes(header + b"".join(layer.tobytes() for layer in layers))
    rows = numpy.column_stack([test, test_labels, answers]).astype("u1")
    (HERE / "digits.bin").write_bytes(rows.tobytes())


if __name__ == "__main__":
    main()
