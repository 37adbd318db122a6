"""The parts that pruners and controls share: scores, rounds, retraining, sparse training, whole channels."""
