"""Time the course's own choices against the usual ones: ratios of speeds, measured in one run.

    python -m benchmarks.ratios

prints of each ratio the smallest, the median and the largest, and writes the table to last.md,
which the status page includes. Every pair takes turns on the same minibatches, and the ratio is
taken within a turn, so that a slow moment of the machine hits both.
"""

import platform
import statistics
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from utils import d2l
from utils.batching import bucket, pad, random_windows
from utils.models import Classifier, LanguageModel, RNNScratch, last_state
from utils.runtime import device, progress, seed
from utils.training import sequence_loss, train_epoch

LAST = Path(__file__).with_name("last.md")


def scratch_against_d2l():
    """Return passes of d2l's recurrent network from scratch and of ours, both made of tensors.

    The size is that of chapter 04: 512 hidden units, minibatches of 32 windows of 35 steps.
    """
    vocab_size, num_hiddens, clip = 28, 512, 1.0
    ids = torch.randint(vocab_size, (10_000,), device=device())  # (num_tokens,)
    batches = list(random_windows(ids, 32, 35))
    book = d2l.RNNLMScratch(d2l.RNNScratch(vocab_size, num_hiddens), vocab_size, lr=1.0)
    ours = RNNScratch(vocab_size, num_hiddens).to(device())
    book.to(device())

    def theirs(optimizer):
        for X, Y in batches:
            loss = book.loss(book(X), Y)
            optimizer.zero_grad()
            with torch.no_grad():
                loss.backward()
                d2l.Trainer.clip_gradients(None, clip, book)
                optimizer.step()

    sgd = torch.optim.SGD(ours.parameters(), 1.0)
    return partial(theirs, book.configure_optimizers()), partial(
        train_epoch, ours, batches, sgd, clip, False
    )


def whole_window_against_characters():
    """Return losses with gradients, one call a character and one call for the whole window.

    The size is that of chapter 10: 512 hidden units, minibatches of 64 windows of 40 steps.
    """
    model = LanguageModel(nn.LSTM(256, 512), 80).to(device())
    X, Y = torch.randint(80, (2, 64, 40), device=device())  # each (batch_size, num_steps)

    def characters():
        state, loss = None, 0
        for x, y in zip(X.T, Y.T, strict=True):  # each (batch_size,)
            hiddens, state = model.layer(model.embedding(x)[None], state)
            loss = loss + F.cross_entropy(model.output(hiddens[0]), y)
        (loss / len(Y.T)).backward()

    return characters, lambda: sequence_loss(model(X)[0], Y).backward()


def buckets_against_plain_padding():
    """Return passes over texts of many lengths, dealt at random and from buckets of 50 minibatches.

    Lengths are drawn to be like those of film reviews: half above 180 tokens, some above 1,000.
    """
    lengths = (180 * torch.exp(0.7 * torch.randn(1_600))).long().clamp(10, 2_500)
    texts = [torch.randint(2, 1_000, (length,)) for length in lengths.tolist()]
    embedding, output = nn.Embedding(1_000, 20, 1), nn.Linear(64, 1)
    model = Classifier(embedding, [nn.LSTM(20, 64)], last_state, output).to(device())

    def read(num_batches):
        for indices in bucket(lengths, 32, num_batches):
            X, its_lengths = pad([texts[i] for i in indices.tolist()], 1)
            model(X.to(device()), its_lengths).square().mean().backward()

    return partial(read, 1), partial(read, 50)


PAIRS = {
    "RNN from scratch: ours over d2l's": (scratch_against_d2l, 15),
    "LSTM: one call a window over one a character": (whole_window_against_characters, 15),
    "classifier: buckets over plain padding": (buckets_against_plain_padding, 5),
}


def seconds(run):
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    run()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratios(make, num_turns):
    """Return the sorted ratios of speed, the second of a pair over the first, after a warm-up."""
    seed(0)
    pair = make()
    turns = [[seconds(run) for run in pair] for _ in progress(range(num_turns + 1), make.__name__)]
    return sorted(usual / ours for usual, ours in turns[1:])


def hardware():
    """Return what the ratios were measured on, as {name: value}."""
    if device().type == "cuda":
        chip = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        chip = models[0] if models else platform.processor() or platform.machine()
    threads, versions = torch.get_num_threads(), (platform.python_version(), torch.__version__)
    return {"device": chip, "threads": threads, "Python": versions[0], "PyTorch": versions[1]}


def table(found):
    """Return ratios, {name: (smallest, median, largest)}, as Markdown with the hardware and day."""
    rows = [("Ratio of speeds", "smallest", "median", "largest"), ("---", "--:", "--:", "--:")]
    rows += [(name, *(f"{ratio:.2f}" for ratio in row)) for name, row in found.items()]
    where = ", ".join(f"{name} {value}" for name, value in hardware().items())
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", f"Measured on {datetime.now(UTC).date()}: {where}.", ""])


def main():
    """Measure, print and store the ratio of every pair."""
    rows = {name: ratios(make, num_turns) for name, (make, num_turns) in PAIRS.items()}
    text = table({name: (row[0], statistics.median(row), row[-1]) for name, row in rows.items()})
    print(text)
    LAST.write_text(text, encoding="utf8")


if __name__ == "__main__":
    main()
