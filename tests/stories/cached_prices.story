# Cached input, half price unless the model lists its own; embeddings bill input only.
# P2 P3 P4 M3, S44 S46 S48

at 2026-03-01 09:00
prices wide in 0.95 cached 0.16 out 4.00
prices half in 0.90 out 0.90 context 2000000
prices embed in 0.008 out 0
open      ada credit 10.00

# S44: 8,000 prompt tokens, 7,500 of them cached, 500 output tokens.
ask       r1 ada wide bytes 8000 max 500 -> held 0.009676   # as if nothing were cached
done      r1 in 8000 cached 7500 out 500 -> charged 0.003675, credit 9.996325

# S46: a million cached tokens at half of $0.90.
ask       r2 ada half bytes 1000000 max 1
done      r2 in 1000000 cached 1000000 out 0 -> charged 0.45

# S48
usage     ada embed in 2000000           -> spent 0.469675
