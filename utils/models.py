"""Recurrent language models: ids (batch_size, num_steps) in, logits and state out."""

import torch
from torch import nn
from torch.nn import functional as F

from utils.runtime import check_positive


class RNNScratch(nn.Module):
    """A language model on a plain recurrent network, written with tensors alone.

    H_t = tanh(X_t W_xh + H_{t−1} W_hh + b_h) with X_t one-hot, logits O_t = H_t W_hq + b_q.
    Weights start as N(0, sigma²), biases as 0. Source: Elman (1990), doi:10.1207/s15516709cog1402_1
    """

    def __init__(self, vocab_size, num_hiddens, sigma=0.01):
        check_positive(vocab_size=vocab_size, num_hiddens=num_hiddens)
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
        """Return logits (num_steps, batch_size, vocab_size) and the state (H,) after X.

        X: (batch_size, num_steps) ids; H: (batch_size, num_hiddens), zeros where state is None.
        """
        (H,) = state or (self.b_h.new_zeros(len(X), self.num_hiddens),)
        inputs = F.embedding(X.T, self.W_xh + self.b_h)  # (num_steps, batch_size, num_hiddens)
        states = self.recur(inputs, H)  # (num_steps, batch_size, num_hiddens)
        logits = states @ self.W_hq + self.b_q  # (num_steps, batch_size, vocab_size)
        return logits, (states[-1],)
