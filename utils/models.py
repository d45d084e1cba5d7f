"""Recurrent cells, a language model around them, and a classifier of whole texts."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from utils import checks


class RNNScratch(nn.Module):
    """A language model on a plain recurrent network, written with tensors alone.

    H_t = tanh(X_t W_xh + H_{t−1} W_hh + b_h) with X_t one-hot, logits O_t = H_t W_hq + b_q.
    Weights start as N(0, sigma²), biases as 0. Source: Elman (1990), doi:10.1207/s15516709cog1402_1
    """

    def __init__(self, vocab_size, num_hiddens, sigma=0.01):
        checks.check_positive(vocab_size=vocab_size, num_hiddens=num_hiddens)
        super().__init__()
        self.num_hiddens = num_hiddens
        self.W_xh = nn.Parameter(torch.randn(vocab_size, num_hiddens) * sigma)
        self.W_hh = nn.Parameter(torch.randn(num_hiddens, num_hiddens) * sigma)
        self.b_h = nn.Parameter(torch.zeros(num_hiddens))
        self.W_hq = nn.Parameter(torch.randn(num_hiddens, vocab_size) * sigma)
        self.b_q = nn.Parameter(torch.zeros(vocab_size))

    def recur(self, inputs, H):
        """Return the states (num_steps, batch_size, num_hiddens) after H, one for each input."""
        states = []
        for xh in inputs:  # (batch_size, num_hiddens)
            H = torch.tanh(xh + H @ self.W_hh)
            states.append(H)
        return torch.stack(states)

    def forward(self, X, state=None):
        """Return logits (num_steps, batch_size, vocab_size) and the state after X.

        X: (batch_size, num_steps) ids; state: (batch_size, num_hiddens), zeros where None.
        Raises TypeError or ValueError where X or state is anything else.
        """
        checks.check_ids(X, len(self.W_xh))
        checks.check_state(state, len(X), self.num_hiddens)
        H = self.b_h.new_zeros(len(X), self.num_hiddens) if state is None else state
        inputs = F.embedding(X.T, self.W_xh + self.b_h)  # (num_steps, batch_size, num_hiddens)
        states = self.recur(inputs, H)  # (num_steps, batch_size, num_hiddens)
        logits = states @ self.W_hq + self.b_q  # (num_steps, batch_size, vocab_size)
        return logits, states[-1]


class LanguageModel(nn.Module):
    """A language model on any recurrent layer: embedding, layer, one linear output.

    layer: nn.RNN, nn.GRU or nn.LSTM with time first, GRUScratch or LSTMScratch; its input_size
    is the length of a token's vector. A bidirectional layer reads what it should predict.
    dropout: share of the layer's inputs and outputs that training sets to zero.
    Raises TypeError or ValueError for any other layer. Source of the places where dropout acts:
    Zaremba et al. (2014), arXiv:1409.2329
    """

    def __init__(self, layer, vocab_size, dropout=0.0):
        checks.check_layer(layer)
        checks.check_positive(vocab_size=vocab_size)
        super().__init__()
        self.layer = layer
        num_directions = 2 if layer.bidirectional else 1
        self.embedding = nn.Embedding(vocab_size, layer.input_size)
        self.output = nn.Linear(layer.hidden_size * num_directions, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, X, state=None):
        """Return logits (num_steps, batch_size, vocab_size) and the state after X.

        X: (batch_size, num_steps) ids. The state is what the layer returns: H, or (H, C) for an
        LSTM, each (num_layers * num_directions, batch_size, num_hiddens); zeros where None.
        Raises TypeError or ValueError where X is anything else, and what the layer raises for a
        wrong state. Ids are looked at on the CPU alone, since a GPU would have to wait for it.
        """
        checks.check_ids(X, self.embedding.num_embeddings)
        inputs = self.dropout(self.embedding(X.T))  # (num_steps, batch_size, num_inputs)
        hiddens, state = self.layer(inputs, state)
        return self.output(self.dropout(hiddens)), state


class Classifier(nn.Module):
    """One logit for each text: embedding, recurrent layers over time, pooling, output.

    embedding: ids to vectors. layers: recurrent, time first, one direction each, one or two of
    them; the first reads each text from its first token to its last, the second from its last to
    its first. pool: hiddens and lengths to (batch_size, num_features), for each layer; output:
    their features side by side to (batch_size, 1). Padding is never read before a token.
    Source of reading both ways: Schuster and Paliwal (1997), doi:10.1109/78.650093
    """

    def __init__(self, embedding, layers, pool, output):
        checks.check_directions(layers)
        super().__init__()
        self.embedding, self.pool, self.output = embedding, pool, output
        self.layers = nn.ModuleList(layers)

    def forward(self, X, lengths):
        """Return the logits (batch_size,) of padded texts X (batch_size, num_steps).

        lengths: (batch_size,) numbers of tokens, each from 1 to num_steps.
        Raises TypeError or ValueError where X or lengths is anything else, or (on the CPU) where
        an id has no row in the embedding.
        """
        checks.check_texts(X, lengths, self)
        readings = [X, reverse(X, lengths)][: len(self.layers)]
        features = []
        for layer, reading in zip(self.layers, readings, strict=True):
            hiddens, _ = layer(self.embedding(reading.T))  # (num_steps, batch_size, num_hiddens)
            features.append(self.pool(hiddens, lengths))  # (batch_size, num_features)
        return self.output(torch.cat(features, dim=1)).squeeze(1)  # (batch_size,)


def reverse(X, lengths):
    """Return X (batch_size, num_steps) with the tokens of each row reversed, padding in place."""
    steps = torch.arange(X.shape[1], device=X.device)  # (num_steps,)
    last = lengths.to(X.device)[:, None] - 1  # (batch_size, 1)
    return X.gather(1, torch.where(steps <= last, last - steps, steps))  # (batch_size, num_steps)


def last_state(hiddens, lengths):
    """Return the state (batch_size, num_hiddens) after the last token of each text."""
    return hiddens[lengths - 1, torch.arange(len(lengths))]  # (batch_size, num_hiddens)


def max_and_mean(hiddens, lengths):
    """Return the largest and the mean of each hidden unit over the tokens of each text.

    hiddens: (num_steps, batch_size, num_hiddens) → (batch_size, 2 * num_hiddens).
    """
    lengths = lengths.to(hiddens.device)
    steps = torch.arange(len(hiddens), device=hiddens.device)[:, None]  # (num_steps, 1)
    padding = (steps >= lengths)[:, :, None]  # (num_steps, batch_size, 1)
    largest = hiddens.masked_fill(padding, -math.inf).amax(dim=0)  # (batch_size, num_hiddens)
    mean = hiddens.masked_fill(padding, 0).sum(dim=0) / lengths[:, None]
    return torch.cat([largest, mean], dim=1)  # (batch_size, 2 * num_hiddens)


def gru_step(x, H, W_h, b_hn=None):
    """Return the next state (batch_size, num_hiddens) of a gated recurrent unit.

    R, Z = σ(x + H W_h), H̃ = tanh(x_h + (R ∘ H) W_hh), H ← Z ∘ H + (1 − Z) ∘ H̃, where x
    (batch_size, 3 * num_hiddens) and W_h hold the columns of R, Z and H̃ side by side.
    With b_hn (num_hiddens,) H̃ is that of nn.GRU: tanh(x_h + R ∘ (H W_hh + b_hn)).
    Source: Cho et al. (2014), arXiv:1406.1078
    """
    x_r, x_z, x_h = x.chunk(3, dim=1)
    W_hr, W_hz, W_hh = W_h.chunk(3, dim=1)
    R, Z = (x_r + H @ W_hr).sigmoid(), (x_z + H @ W_hz).sigmoid()
    recurrent = (R * H) @ W_hh if b_hn is None else R * (H @ W_hh + b_hn)
    candidate = (x_h + recurrent).tanh()
    return Z * H + (1 - Z) * candidate


class GRUScratch(nn.Module):
    """One layer of gated recurrent units, with the interface of nn.GRU.

    W_x, W_h and b hold the columns of R, Z and H̃ side by side; reset_after asks for the
    candidate of nn.GRU instead of the paper's. All parameters start as U(−1/√h, 1/√h).
    Source: gru_step
    """

    bidirectional = False

    def __init__(self, input_size, hidden_size, reset_after=False):
        checks.check_positive(input_size=input_size, hidden_size=hidden_size)
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_x = nn.Parameter(torch.empty(input_size, 3 * hidden_size))
        self.W_h = nn.Parameter(torch.empty(hidden_size, 3 * hidden_size))
        self.b = nn.Parameter(torch.empty(3 * hidden_size))
        self.b_hn = nn.Parameter(torch.empty(hidden_size)) if reset_after else None
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs, state=None):
        """Return the states (num_steps, batch_size, num_hiddens) and the last (1, ...) of them.

        inputs: (num_steps, batch_size, num_inputs); state: (1, batch_size, num_hiddens), zeros
        where None. Raises TypeError or ValueError where inputs or state is anything else.
        """
        checks.check_inputs(inputs, self.input_size)
        checks.check_state(state, 1, inputs.shape[1], self.hidden_size)
        zeros = inputs.new_zeros(1, inputs.shape[1], self.hidden_size)
        (H,) = zeros if state is None else state
        states = []
        for x in inputs @ self.W_x + self.b:  # (batch_size, 3 * num_hiddens)
            H = gru_step(x, H, self.W_h, self.b_hn)
            states.append(H)
        return torch.stack(states), H[None]


def lstm_step(x, H, C, W_h):
    """Return the next state and cell, each (batch_size, num_hiddens), of a long short-term memory.

    I, F, O = σ(x + H W_h), G = tanh(x_g + H W_hg), C ← F ∘ C + I ∘ G, H ← O ∘ tanh(C), where x
    (batch_size, 4 * num_hiddens) and W_h hold the columns of I, F, G and O side by side.
    Sources: Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; forget gate:
    Gers et al. (2000), doi:10.1162/089976600300015015
    """
    i, f, g, o = (x + H @ W_h).chunk(4, dim=1)
    input_gate, forget_gate, output_gate = i.sigmoid(), f.sigmoid(), o.sigmoid()
    C = forget_gate * C + input_gate * g.tanh()
    return output_gate * C.tanh(), C


class LSTMScratch(nn.Module):
    """One layer of long short-term memory, with the interface of nn.LSTM.

    W_x, W_h and b hold the columns of I, F, G and O side by side. All parameters start as
    U(−1/√h, 1/√h). Source: lstm_step
    """

    bidirectional = False

    def __init__(self, input_size, hidden_size):
        checks.check_positive(input_size=input_size, hidden_size=hidden_size)
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_x = nn.Parameter(torch.empty(input_size, 4 * hidden_size))
        self.W_h = nn.Parameter(torch.empty(hidden_size, 4 * hidden_size))
        self.b = nn.Parameter(torch.empty(4 * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs, state=None):
        """Return the states (num_steps, batch_size, num_hiddens) and the last (H, C).

        inputs: (num_steps, batch_size, num_inputs); H and C: (1, batch_size, num_hiddens), zeros
        where state is None. Raises TypeError or ValueError where inputs or state is anything else.
        """
        checks.check_inputs(inputs, self.input_size)
        checks.check_state(state, 1, inputs.shape[1], self.hidden_size, num_parts=2)
        zeros = inputs.new_zeros(1, inputs.shape[1], self.hidden_size)
        (H,), (C,) = (zeros, zeros) if state is None else state
        states = []
        for x in inputs @ self.W_x + self.b:  # (batch_size, 4 * num_hiddens)
            H, C = lstm_step(x, H, C, self.W_h)
            states.append(H)
        return torch.stack(states), (H[None], C[None])
