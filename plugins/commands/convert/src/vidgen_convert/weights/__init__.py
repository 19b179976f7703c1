"""Weights from one layout to another: what they are of is recognised, the model reads them and writes them again.

Layouts are the models' own business: `layouts` names those that a model has beside vidgen's, `state_in(layout)` gives
its weights in one of them, `config_in(layout)` the `config.json` beside them. Models are named here to recognise them
alone.
"""
