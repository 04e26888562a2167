# Every request's money is held before it starts: the most it can cost, within what is left, and never more is billed.
# H1 H2 H3 H4 H5

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80 most 8192
prices small in 0.20 out 0.80 context 600
open      ada

# The bound: bytes + 64 + 16 a message of input, the cap × n of output; the model's context where that is less.
ask       r1 ada tiny bytes 500 max 1000 n 3 -> held 0.002516
ask       r2 ada small bytes 5000 max 100 -> held 0.0002
show      ada                            -> held 0.002716, headroom 0.997284, credit 1.00
void      r1                             -> held 0.0002, credit 1.00
done      r2 in 600 out 100              -> charged 0.0002, held 0.00, credit 0.9998

# H4: an upstream that ignores the cap is the operator's cost.
ask       r3 ada tiny bytes 500 max 1000 -> held 0.000916
done      r3 in 580 out 2000             -> charged 0.000916, clamped 0.0008
ask       r4 ada tiny bytes 500 max 1000
done      r4 in 120 out 1200             -> charged 0.000916, clamped 0.000068, credit 0.997968

# H5: usage that contradicts itself is set aside, and not billed.
ask       r5 ada tiny bytes 500 max 1000
done      r5 in 10 cached 20 out 5       -> quarantined, charged 0.00, credit 0.997968, held 0.00

# H3: what does not fit is made to fit, or refused where the request wants that.
prices    tall in 2.00 out 8.00 most 8192
spend     ada 0.992968                   -> credit 0.005
ask       r6 ada tall bytes 500 max 1000 refuse -> refused 402 "$0.005 is left" "up to $0.00916" "max_tokens 480"
  -> unchanged
ask       r6 ada tall bytes 500 max 1000 -> cap 480, held 0.005
show      ada                            -> headroom 0.00
ask       r7 ada tall bytes 10 max 10    -> refused 402, UNSUSPENDED
done      r6 in 580 out 100              -> charged 0.00196, credit 0.00304, UNSUSPENDED

# Never below 16 tokens, nor below a smaller cap that was asked for.
spend     ada 0.001752                   -> credit 0.001288
ask       r8 ada tall bytes 500 max 1000 -> cap 16, held 0.001288
void      r8
spend     ada 0.000001                   -> credit 0.001287
ask       r8 ada tall bytes 500 max 8    -> cap 8, held 0.001224
void      r8
ask       r9 ada tall bytes 500 max 1000 -> refused 402 "max_tokens 15", UNSUSPENDED, unchanged

# A request that names no cap gets half of what is left at most, so that several can run at once.
open      bob
spend     bob 0.996                      -> credit 0.004
ask       r10 bob tiny bytes 500         -> cap 2355, held 0.002
ask       r11 bob tiny bytes 500         -> cap 1105, held 0.001
ask       r12 bob tiny bytes 500 max 8192 -> cap 1105, held 0.001
show      bob                            -> headroom 0.00, held 0.004
