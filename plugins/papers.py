"""Papers from which several methods or controls come; no plugin itself."""

from __future__ import annotations

from lth_bench import Paper

DE_JORGE_2021 = Paper(
    "dejorge2021progressive",
    "Progressive Skeletonization: Trimming more fat from a network at initialization",
    "Pau de Jorge and Amartya Sanyal and Harkirat S. Behl and Philip H. S. Torr and Grégory Rogez and "
    "Puneet K. Dokania",
    "ICLR",
    2021,
    arxiv="2006.09081",
    code="https://github.com/naver/force",
)

EVCI_2020 = Paper(
    "evci2020rigging",
    "Rigging the Lottery: Making All Tickets Winners",
    "Utku Evci and Trevor Gale and Jacob Menick and Pablo Samuel Castro and Erich Elsen",
    "ICML",
    2020,
    arxiv="1911.11134",
    code="https://github.com/google-research/rigl",
)

FRANKLE_2019 = Paper(
    "frankle2019lottery",
    "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks",
    "Jonathan Frankle and Michael Carbin",
    "ICLR",
    2019,
    arxiv="1803.03635",
    code="https://github.com/google-research/lottery-ticket-hypothesis",
)

FRANKLE_2021 = Paper(
    "frankle2021pruning",
    "Pruning Neural Networks at Initialization: Why are We Missing the Mark?",
    "Jonathan Frankle and Gintare Karolina Dziugaite and Daniel M. Roy and Michael Carbin",
    "ICLR",
    2021,
    arxiv="2009.08576",
)

ZHOU_2019 = Paper(
    "zhou2019deconstructing",
    "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask",
    "Hattie Zhou and Janice Lan and Rosanne Liu and Jason Yosinski",
    "NeurIPS",
    2019,
    arxiv="1905.01067",
    code="https://github.com/uber-research/deconstructing-lottery-tickets",
)
