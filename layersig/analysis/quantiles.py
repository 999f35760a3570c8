"""Quantiles of Student's and the chi-squared law, one number at a time.

`scipy.stats` checks and broadcasts arguments, which takes a hundred times as long as the number itself; a report of
hundreds of comparisons asks for tens of thousands. The functions below are the ones that it calls: the same bits.
"""

from scipy import special


def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's law; infinite degrees of freedom mean the normal law."""
    return float(special.stdtrit(df, p))


def chi2_quantile(p: float, df: float) -> float:
    """Quantile of the chi-squared law."""
    return float(2 * special.gammaincinv(df / 2, p))
