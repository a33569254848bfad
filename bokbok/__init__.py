"""Talk to bokbok peers: secure, symmetrical s-expression RPC, as CHICKEN Scheme's bokbok egg has it."""

__version__ = "0.1.0"
