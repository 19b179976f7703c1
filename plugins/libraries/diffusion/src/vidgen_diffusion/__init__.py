"""What vidgen's schedulers share: noise schedules, kinds of prediction, losses, given frames, checks. No component of
its own; `options` is free of torch."""
