"""Meeting a real peer: from its image, its puppet or its address to a profile, a matrix and a folder to send.

It uses calibration and the conformance suite. `target` knows the peer, `folder` knows its files and which steps are
done, `steps` knows the steps and their order, `conversations` lets two peers talk, `cli` is the command `bokbok-interop
meet`.
"""
