# A stream holds its output slice by slice, ahead of what it produces, and is cut where the next one does not fit.
# H1 H4 H5

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80 most 8192
open      ada
ask       s1 ada tiny bytes 500 max 3000 stream -> held 0.0009352, cap 3000
slice     s1                             -> held 0.0017544
slice     s1                             -> held 0.002516   # the cap ends it
done      s1 in 300 out 2900             -> charged 0.00238, credit 0.99762

# Near the end: the first slice fits, the second in part, a third not at all.
spend     ada 0.99612                    -> credit 0.0015
ask       s2 ada tiny bytes 500 max 8000 stream -> held 0.0009352
slice     s2                             -> held 0.0015
slice     s2                             -> held 0.0015, cut
done      s2 in 580 out 1730             -> charged 0.0015, credit 0.00, CREDIT_DEPLETED

# Two streams over one balance: neither is billed above what it holds.
open      bob
spend     bob 0.998
ask       s3 bob tiny bytes 500 max 8000 stream -> held 0.0009352
ask       s4 bob tiny bytes 500 max 8000 stream -> held 0.0009352
slice     s3                             -> held 0.0010648
slice     s4                             -> cut
done      s4 in 580 out 2000             -> charged 0.0009352, clamped 0.0007808
done      s3 in 580 out 100              -> charged 0.000196, credit 0.0008688, UNSUSPENDED
