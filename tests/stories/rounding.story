# A charge is rounded once, half to even, to a nano-dollar; not each unit for itself.
# M1 M3

at 2026-03-01 09:00
prices grain in 0.000001 cached 0.000001 out 0.000001   # a thousandth of a nano-dollar per token
open      ada

ask       r1 ada grain bytes 4000 max 4000 -> held 0.000000009   # 8.08 rounded up
done      r1 in 500 out 0                -> charged 0.00
ask       r2 ada grain bytes 4000 max 4000
done      r2 in 500 out 500              -> charged 0.000000001
ask       r3 ada grain bytes 4000 max 4000
done      r3 in 1500 out 0               -> charged 0.000000002
ask       r4 ada grain bytes 4000 max 4000
done      r4 in 2500 out 0               -> charged 0.000000002
ask       r5 ada grain bytes 4000 max 4000
done      r5 in 1250 cached 400 out 1251 -> charged 0.000000003, credit 0.999999992
