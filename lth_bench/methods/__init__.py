"""What pruners and controls share: scores, rounds, retraining, sparse training, whole channels."""
