"""Meeting a real peer: from its image, its puppet or its address to a profile, a matrix and a folder that can be sent.

It stands above calibration and the conformance suite and uses both. `target` knows what is met, `folder` what is kept
and which steps are done, `steps` what is done in which order, `conversations` how two peers are made to talk, `cli` is
the command `bokbok-interop meet`.
"""
