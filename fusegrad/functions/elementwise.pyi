# Made of the elementwise table: write it anew with: pytest tests/api/test_stubs.py --update-golden

from ..tensors.tensor_class import ArrayLike, Tensor

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "around",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "divide",
    "eq",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "fix",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "heaviside",
    "hypot",
    "imag",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "lcm",
    "le",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "multiply",
    "ne",
    "neg",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "radians",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "right_shift",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]

def add(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The sum of two numbers."""

def subtract(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The first number less the second."""

def multiply(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The product of two numbers."""

def negative(x: ArrayLike) -> Tensor:
    """The number with the other sign."""

def square(x: ArrayLike) -> Tensor:
    """The number times itself."""

def positive(x: ArrayLike) -> Tensor:
    """The number itself."""

def conj(x: ArrayLike) -> Tensor:
    """The complex conjugate; all numbers here are real."""

def real(x: ArrayLike) -> Tensor:
    """The real part: the number itself."""

def imag(x: ArrayLike) -> Tensor:
    """The imaginary part: 0."""

def deg2rad(x: ArrayLike) -> Tensor:
    """Degrees as radians."""

def rad2deg(x: ArrayLike) -> Tensor:
    """Radians as degrees."""

def divide(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The quotient, of integers too a float."""

def reciprocal(x: ArrayLike) -> Tensor:
    """One over the number."""

def floor_divide(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The quotient, rounded down."""

def remainder(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """What `floor_divide` leaves; it has the sign of `x2`."""

def fmod(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """What division towards 0 leaves, with the sign of `x1`."""

def gcd(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The greatest common divisor of integers."""

def lcm(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The least common multiple of integers."""

def abs(x: ArrayLike) -> Tensor:
    """The absolute value; the derivative at 0 is 0."""

def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1."""

def hypot(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """sqrt(x1**2 + x2**2) without overflow."""

def copysign(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """`x1` with the sign of `x2`."""

def heaviside(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """0 below 0, 1 above, `x2` at 0."""

def maximum(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The larger of two; equal ones share the gradient."""

def minimum(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The smaller of two; equal ones share the gradient."""

def fmax(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The larger of two; of NaN and a number the number."""

def fmin(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The smaller of two; of NaN and a number the number."""

def relu(x: ArrayLike) -> Tensor:
    """The number, or 0 if it is negative."""

def equal(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether two numbers are equal."""

def not_equal(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether two numbers differ."""

def less(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether the first is smaller."""

def less_equal(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether the first is not larger."""

def greater(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether the first is larger."""

def greater_equal(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether the first is not smaller."""

def logical_and(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether both are not 0."""

def logical_or(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether one of two is not 0."""

def logical_xor(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Whether exactly one of two is not 0."""

def logical_not(x: ArrayLike) -> Tensor:
    """Whether the number is 0."""

def bitwise_and(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Bits that both have."""

def bitwise_or(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Bits that one of two has."""

def bitwise_xor(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Bits that one alone has."""

def bitwise_invert(x: ArrayLike) -> Tensor:
    """The other bits."""

def bitwise_left_shift(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Bits moved up."""

def bitwise_right_shift(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Bits moved down."""

def bitwise_count(x: ArrayLike) -> Tensor:
    """How many bits are 1, of negative numbers in their size."""

def exp(x: ArrayLike) -> Tensor:
    """e to the power `x`."""

def exp2(x: ArrayLike) -> Tensor:
    """2 to the power `x`."""

def expm1(x: ArrayLike) -> Tensor:
    """exp(x) - 1, also accurate for small `x`."""

def sigmoid(x: ArrayLike) -> Tensor:
    """1 / (1 + exp(-x))."""

def log(x: ArrayLike) -> Tensor:
    """The natural logarithm."""

def log2(x: ArrayLike) -> Tensor:
    """The logarithm to base 2."""

def log10(x: ArrayLike) -> Tensor:
    """The logarithm to base 10."""

def log1p(x: ArrayLike) -> Tensor:
    """log(1 + x), also accurate for small `x`."""

def logaddexp(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow."""

def logaddexp2(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """log2(2**x1 + 2**x2) without overflow."""

def pow(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """`x1` to the power `x2`; right at base 0 too."""

def float_power(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """`x1` to the power `x2`, computed as float64."""

def sqrt(x: ArrayLike) -> Tensor:
    """The square root; the derivative at 0 is infinite."""

def rsqrt(x: ArrayLike) -> Tensor:
    """One over the square root."""

def cbrt(x: ArrayLike) -> Tensor:
    """The cube root."""

def floor(x: ArrayLike) -> Tensor:
    """The largest integer that is not larger."""

def ceil(x: ArrayLike) -> Tensor:
    """The smallest integer that is not smaller."""

def trunc(x: ArrayLike) -> Tensor:
    """The integer part."""

def round(x: ArrayLike) -> Tensor:
    """The nearest integer; halves to the even one."""

def nextafter(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The number next to the first one on the way to the second."""

def isnan(x: ArrayLike) -> Tensor:
    """Whether it is not a number."""

def isinf(x: ArrayLike) -> Tensor:
    """Whether it is infinite."""

def isfinite(x: ArrayLike) -> Tensor:
    """Whether it is a number."""

def isposinf(x: ArrayLike) -> Tensor:
    """Whether it is plus infinity."""

def isneginf(x: ArrayLike) -> Tensor:
    """Whether it is minus infinity."""

def signbit(x: ArrayLike) -> Tensor:
    """Whether the sign is minus."""

def erf(x: ArrayLike) -> Tensor:
    """The error function."""

def erfc(x: ArrayLike) -> Tensor:
    """1 - erf(x), also accurate for large `x`."""

def sin(x: ArrayLike) -> Tensor:
    """The sine."""

def cos(x: ArrayLike) -> Tensor:
    """The cosine."""

def tan(x: ArrayLike) -> Tensor:
    """The tangent."""

def asin(x: ArrayLike) -> Tensor:
    """The inverse of the sine."""

def acos(x: ArrayLike) -> Tensor:
    """The inverse of the cosine."""

def atan(x: ArrayLike) -> Tensor:
    """The inverse of the tangent."""

def atan2(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The angle of the point (x2, x1)."""

def sinc(x: ArrayLike) -> Tensor:
    """sin(pi x) / (pi x), at 0 it is 1."""

def sinh(x: ArrayLike) -> Tensor:
    """The hyperbolic sine."""

def cosh(x: ArrayLike) -> Tensor:
    """The hyperbolic cosine."""

def tanh(x: ArrayLike) -> Tensor:
    """The hyperbolic tangent."""

def asinh(x: ArrayLike) -> Tensor:
    """The inverse of the hyperbolic sine."""

def acosh(x: ArrayLike) -> Tensor:
    """The inverse of the hyperbolic cosine."""

def atanh(x: ArrayLike) -> Tensor:
    """The inverse of the hyperbolic tangent."""

sub = subtract
mul = multiply
neg = negative
conjugate = conj
radians = deg2rad
degrees = rad2deg
true_divide = divide
mod = remainder
absolute = abs
fabs = abs
eq = equal
ne = not_equal
lt = less
le = less_equal
gt = greater
ge = greater_equal
bitwise_not = bitwise_invert
invert = bitwise_invert
left_shift = bitwise_left_shift
right_shift = bitwise_right_shift
power = pow
fix = trunc
around = round
rint = round
arcsin = asin
arccos = acos
arctan = atan
arctan2 = atan2
arcsinh = asinh
arccosh = acosh
arctanh = atanh
