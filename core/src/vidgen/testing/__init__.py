"""For plugin authors: whether a component keeps what its kind promises, in one line of a test.

    from vidgen.testing import assert_conforms

    def test_conforms():
        assert_conforms("scheduler", "my-scheduler", num_sampling_steps=4)

Needs no pytest. What each kind promises is in `vidgen.interfaces`.
"""

from vidgen.testing.conform import assert_conforms
from vidgen.testing.tiny import tiny_context, tiny_model_inputs, write_clip

__all__ = ["assert_conforms", "tiny_context", "tiny_model_inputs", "write_clip"]
