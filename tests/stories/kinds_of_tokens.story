# Kinds of tokens are units of their own where the model prices them, and each token is paid for once. Held is the dearest.
# P2, H1, H4

at 2026-03-01 09:00
prices plain in 1.00 cached 0.10 out 4.00
prices apart in 1.00 cached 0.10 out 4.00 cache_write_5m 1.25 audio_input 10.00 audio_output 20.00
open   ada
grant  ada 9.00

# 580 tokens in and 1,000 out at most: at 1.00 and 4.00, and at 10.00 and 20.00
ask    r1 ada plain bytes 500 max 1000                                       -> held 0.00458
done   r1 in 100 cached 40 written 20 heard 30 out 50 spoken 10              -> credit 9.999736
ask    r2 ada apart bytes 500 max 1000                                       -> held 0.0258
done   r2 in 100 cached 40 written 20 heard 30 out 50 spoken 10              -> credit 9.999037

# 90 of the 100 are cached, and 30 are speech: of these at least 20 are cached, and are paid for as cached alone
ask    r3 ada apart bytes 500 max 1000
done   r3 in 100 cached 90 heard 30 out 0                                    -> credit 9.998928
