"""Cases of the kind `math` as gold ~ answer, written from the rules: what is the same, and what is not."""

RIGHT = r"""
5 ~ f(2) = 5
\sqrt{2} ~ sqrt 2
\sqrt[3]{5} ~ \sqrt[3]5
72 ~ 72 \mathrm{~km/h}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \left[\begin{array}{cc}1&2\\3&4\end{array}\right]
\frac{1}{2} ~ 0.5
\frac{1}{2} ~ 1/2
\frac{1}{2} ~ \dfrac12
\frac{1}{2} ~ 2/4
3\sqrt{13} ~ \sqrt{117}
3\sqrt{13} ~ 3 sqrt(13)
3\sqrt{13} ~ 3*sqrt(13)
3\sqrt{13} ~ 3√13
\frac{\sqrt{3}}{3} ~ \frac{1}{\sqrt{3}}
\frac{\sqrt{3}}{3} ~ 1/sqrt(3)
(-\infty, 2) \cup (3, \infty) ~ (3,oo) U (-oo,2)
(-\infty, 2) \cup (3, \infty) ~ x < 2 or x > 3
(-\infty, 0] ~ x \le 0
x \in [-2,7] ~ [-2, 7]
x \in [-2,7] ~ -2 <= x <= 7
(3,4] ~ 3 < x \leq 4
1,-2 ~ -2, 1
1,-2 ~ x = 1 or x = -2
1,-2 ~ \{-2, 1\}
3, 5, 7 ~ 7, 5 and 3
1 \pm \sqrt{19} ~ 1+\sqrt{19}, 1-\sqrt{19}
\{1\pm\sqrt{5},-2\} ~ -2, 1 - \sqrt5, 1+\sqrt5
\left( 3, \frac{\pi}{2} \right) ~ (3, pi/2)
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ~ \begin{bmatrix} -\frac{1}{3} \\ \frac23 \\ \frac{5}{3} \end{bmatrix}
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ~ \begin{pmatrix}-1&0\\0&-1\end{pmatrix}
6 - 5i ~ 6-5i
6 - 5i ~ -5i + 6
1+274i ~ 274i+1
-2 + 7i ~ 7i-2
y = 2x + 3 ~ y=3+2x
y = 2x + 3 ~ 2x+3
x=5 ~ 5
5 ~ x=5
5x - 7y + 11z + 4 = 0 ~ 5x-7y+11z=-4
5x - 7y + 11z + 4 = 0 ~ 0 = 5x - 7y + 11z + 4
(a+5)(b+2) ~ ab+2a+5b+10
(a+5)(b+2) ~ (b+2)(a+5)
15x - 80 ~ -80+15x
15x - 80 ~ 5(3x-16)
x^3+3x-6 ~ x^3 + 3*x - 6
x^8 + x^7 + x^6 + x^5 + x^4 + x^3 + x^2 + x + 1 ~ x^8+x^7+x^6+x^5+x^4+x^3+x^2+x+1
2516_8 ~ 2516_{8}
204_5 ~ 54_{10}
204_5 ~ 204 base 5
864 \mbox{ inches}^2 ~ 864
864 \mbox{ inches}^2 ~ 864 in^2
864 \mbox{ inches}^2 ~ 864 square inches
15\mbox{ cm}^2 ~ 15 \text{ cm}^2
15\mbox{ cm}^2 ~ 15 cm²
106^\circ ~ 106
106^\circ ~ 106°
106^\circ ~ 106 degrees
\frac{270}7\text{ degrees} ~ 270/7
\frac{270}7\text{ degrees} ~ 38\frac{4}{7}^\circ
\$18.90 ~ 18.90
\$18.90 ~ $18.90
\$18.90 ~ 18.9 dollars
\$32,\!348 ~ 32348
\$32,\!348 ~ \$32,348
11,\! 111,\! 111,\! 100 ~ 11,111,111,100
10,\!080 ~ 10080
10,\!080 ~ 10{,}080
5.4 \text{ cents} ~ 5.4
5.4 \text{ cents} ~ 27/5 cents
137 \frac{1}{2} ~ 137.5
1\frac{4}{5} ~ 9/5
1\frac{4}{5} ~ 1 4/5
\text{(B)} ~ B
\text{(B)} ~ (B)
\text{Evelyn} ~ Evelyn
\text{Evelyn} ~ evelyn.
\text{even} ~ \textbf{even}
\text{even} ~ even
\cot x ~ \frac{\cos x}{\sin x}
\cot x ~ cot x
\cot x ~ \cot(x)
\frac{11+9a}{20} ~ \frac{9a+11}{20}
\frac{11+9a}{20} ~ (9a+11)/20
12\pi ~ 12pi
12\pi ~ 12 \cdot \pi
\frac{20000}{\pi} ~ 20000/pi
5r^5 ~ 5 r^5
42 ~ 6*7 = 42
42 ~ 6 \times 7 = 42
42 ~ The answer is $42$.
42 ~ 42.0
42 ~ **42**
42 ~ 42 apples
42 ~ \boxed{42}
25\% ~ 25
25\% ~ 25%
\frac13 ~ 0.\overline{3}
2^{10} ~ 1024
x > 3 ~ (3,\infty)
x > 3 ~ 3 < x
2k+2 ~ 2(k+1)
p - q ~ -q+p
3R^2 ~ 3 R^2
-\frac{\pi}{6} ~ -π/6
-\frac{\pi}{6} ~ -\tfrac{1}{6}\pi
18+2\pi ~ 2(9+\pi)
\left[ \frac{\pi^2}{8}, \frac{5 \pi^2}{4} \right] ~ [\pi^2/8, 5\pi^2/4]
(1,-16,-4,43) ~ (1, -16, -4, 43)
-1 ~ -1.0
\log_2 3 ~ \frac{\ln 3}{\ln 2}
e^{2x} ~ (e^x)^2
5! ~ 120
\binom{5}{2} ~ 10
|x| ~ \lvert x \rvert
70 \sqrt{2} ~ 70\sqrt{2} \text{ meters}
2 ~ 2 \text{ cm}
2000 ~ 2 \times 10^3
2\sqrt{5} ~ \sqrt{20}
\emptyset ~ \varnothing
\pi ~ π
\pi ~ pi
\mathbb{R} ~ (-\infty,\infty)
90^\circ ~ 90 degrees
f(x) = x^2 ~ x^2
x^2+y^2=1 ~ y^2+x^2=1
2x+4y=6 ~ x+2y=3
45 \text{ mph} ~ 45 miles per hour
\frac{3}{4} ~ 0.75
\frac{3}{4} ~ .75
-\frac{3}{4} ~ \frac{-3}{4}
-\frac{3}{4} ~ -3/4
1000 ~ 1,000
1000000 ~ 1,000,000
x^{10} ~ x^10
\sqrt[3]{2} ~ 2^{1/3}
\sqrt[3]{2} ~ 2^(1/3)
(2,4) ~ (x,y) = (2,4)
3 ~ \log_2 8
2 ~ x = 1 + 1 = 2
i\sqrt{3} ~ \sqrt{3}i
\text{No} ~ no
No ~ no
xy ~ yx
abc ~ cba
2xy ~ 2yx
x=2, y=3 ~ x = 2 and y = 3
x=2, y=3 ~ y=3, x=2
\langle 1,2 \rangle ~ (1,2)
-5 ~ -\$5
-\$5 ~ $-5$
|x-1| ~ \left|x-1\right|
\lfloor x \rfloor ~ \lfloor x \rfloor
2x - 4 > y ~ y < 2x-4
\frac{x+1}{x-1} ~ (x+1)/(x-1)
\frac{x^2-1}{x-1} ~ x+1
\sin^2 x ~ 1-\cos^2 x
\frac{1+\sqrt5}{2} ~ \frac12+\frac{\sqrt{5}}{2}
\frac{1+\sqrt5}{2} ~ (1+sqrt(5))/2
1 - 12i ~ 1-12 i
4\pi r^2 ~ 4 \pi r^{2}
\frac{1}{6} ~ 1/6
\frac{1}{6} ~ -\frac{1}{-6}
\{1,2,3\} ~ {1, 2, 3}
\{1,2,3\} ~ \{3,2,1\}
[0,1) ~ 0 \leq x < 1
[0,1) ~ x \in [0,1)
\left[0,1\right) ~ [0, 1)
1011_2 ~ 1011_{2}
1011_2 ~ 11
1011_2 ~ 11_{10}
\text{June 20} ~ June 20
12, 15 ~ 12 \text{ and } 15
(1,2), (3,4) ~ (3,4),(1,2)
(1,2), (3,4) ~ (3,4) and (1,2)
\sqrt{x^2+1} ~ \sqrt{1+x^2}
3 \text{ m/s} ~ 3
3 \text{ m/s} ~ 3 m/s
3 \text{ m/s} ~ 3 meters per second
100 ~ 100\%
50 ~ 50 dollars
50 ~ $50
\frac{7}{3} ~ 2\frac{1}{3}
\frac{7}{3} ~ 7/3
7/3 ~ \frac{7}{3}
0.5 ~ \frac12
0.5 ~ 1/2
y=\frac{1}{2}x+3 ~ y = x/2 + 3
y=\frac{1}{2}x+3 ~ 2y = x + 6
x^2+y^2=25 ~ x^2 + y^2 - 25 = 0
\frac{\pi}{4} ~ 45^\circ*0+\pi/4
8! ~ 40320
{5} ~ 5
\pm 3 ~ 3, -3
\pm 3 ~ -3 or 3
\pm 3 ~ x = \pm 3
x=\pm 3 ~ \pm 3
x = 3, -3 ~ 3,-3
3 ~ \sqrt{9}
e ~ e
2e ~ 2*e
\ln 2 ~ ln(2)
\ln 2 ~ \ln(2)
\log 8 ~ 3\log 2
120 ~ 5 \times 4 \times 3 \times 2 \times 1 = 120
1.5 \times 10^{-3} ~ 0.0015
1.5 \times 10^{-3} ~ 1.5e-3
6.02 \times 10^{23} ~ 6.02*10^23
\begin{bmatrix}1\\2\end{bmatrix} ~ \begin{pmatrix} 1 \\ 2 \end{pmatrix}
\frac{a}{b} ~ a/b
a_n = 2n+1 ~ 2n+1
2n+1 ~ a_n = 2n+1
\text{Yes} ~ \textbf{Yes}
\text{Monday} ~ Monday
\emptyset ~ \{\}
-\infty ~ -inf
\text{true} ~ True
10\text{ units} ~ 10
x ~ x
x-2 ~ -(2-x)
\frac{3}{2}\sqrt{2} ~ \frac{3\sqrt{2}}{2}
\frac{3}{2}\sqrt{2} ~ 3/2 sqrt(2)
\frac{3}{2}\sqrt{2} ~ 3\sqrt{2}/2
\frac{3}{2}\sqrt{2} ~ \frac{3}{\sqrt2}
""".strip().splitlines()

WRONG = r"""
42 ~ 42=42=42=42=42=42=42=42=42
no ~ on
5 ~ 5, 5
12 ~ 1 2
12 ~ 1,2
0.1 ~ 0.1000001
\sqrt{2} ~ \frac{99}{70}
\frac{1}{3} ~ 0.333333
\frac{1}{3} ~ 0.33
\sqrt{2} ~ 1.41421356237
\pi ~ 3.14159
\pi ~ 22/7
42 ~ 42 or 43
42 ~ 41, 42
42 ~ 41, 42, 43
42 ~ about 42
42 ~ \approx 42
42 ~ ≈ 42
42 ~ not 42
42 ~ 40-45
42 ~ 40 to 45
42 ~ 42 \pm 1
42 ~ 42 ± 0.5
42 ~ 6*8 = 42
42 ~ 41 = 42
42 ~ x = 41 = 42
42 ~ maybe 42
42 ~ at least 42
42 ~ > 42
42 ~ \ge 42
42 ~ between 41 and 43
42 ~ [41,43]
42 ~ (41,43)
42 ~ \neq 42
42 ~ 42?
42 ~ 43
42 ~ 42 \text{ or } 43
42 ~ x+2
42 ~
42 ~ none
42 ~ 4 2
42 ~ 42 43
42 ~ 3. Add 42
(3,4] ~ (3,4)
(3,4] ~ [3,4)
(1,2) ~ (2,1)
(1,2) ~ [1,2]
(2,\infty) ~ [2,\infty)
1,-2 ~ 1
1,-2 ~ 1,2
1,-2 ~ 1,-2,3
1 \pm \sqrt{19} ~ 1+\sqrt{19}
\{1,2\} ~ \{1,2,3\}
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ~ \begin{pmatrix} 1 & 0 \\ 0 & -1 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} ~ \begin{pmatrix} 1 & 2 \end{pmatrix}
6 - 5i ~ 6+5i
y = 2x + 3 ~ y = 2x - 3
x=5 ~ y=5
x=5 ~ x=6
2516_8 ~ 2516_7
15\mbox{ cm}^2 ~ 15 m^2
15\mbox{ cm}^2 ~ 15 cm
106^\circ ~ 105
\text{(B)} ~ (C)
\text{(B)} ~ B or C
\text{Evelyn} ~ Evelyn or Carla
\text{even} ~ odd
\text{even} ~ not even
x > 3 ~ x \ge 3
x > 3 ~ x < 3
5x - 7y + 11z + 4 = 0 ~ 5x - 7y + 11z - 4 = 0
x^2 ~ x^3
x^2 ~ x^2 or x^3
x^2 ~ y^2
25\% ~ 0.26
\frac{1}{2} ~ \frac{1}{2}, \frac{1}{3}
12\pi ~ 37.699
12\pi ~ 12
3\sqrt{13} ~ 10.8167
3\sqrt{13} ~ 3\sqrt{13} \approx 10.8
-1 ~ 1
0 ~ x-x+1
5 ~ 5 = 6
5 ~ 2+2=5
5 ~ 5 = 2+2
5 ~ 3 + 3 = 5
5 ~ 5...6
5 ~ 5:6
5 ~ approximately 5
5 ~ roughly 5
5 ~ 5 \to 6
5 ~ 5-ish
5 ~ ~5
5 ~ \sim 5
5 ~ 5 (or 6)
5 ~ 5 (not 6)
1000 ~ 10^{3.1}
2\sqrt{5} ~ \sqrt{21}
\emptyset ~ 0
x = 1 ~ x = 1 or x = 2
\infty ~ -\infty
(-\infty, 2) \cup (3, \infty) ~ (-\infty, 2) \cap (3, \infty)
x<2 \text{ or } x>3 ~ x<2 and x>3
(2,5) ~ x>2 and x<6
\sqrt{2} ~ 1.4142135623730950488016887242096980785696718753769480731766797
f(x)=x^2 ~ g(x)=x^2
1,2 ~ 1 or 3
\log_2 3 ~ 1.585
3 ~ 6/2 = 4
0 ~ not 0
0 ~ or 0
0 ~ no 0
0 ~ 0 not
0 ~ 0 if
x<1 ~ x<1, x>2
\pm 3 ~ 3
\pm 3 ~ -3
3 ~ \pm 3
2x<6 ~ x>3
x+2y=3 ~ x+2y=4
x=x+1 ~ 0=2
1011_2 ~ 1011
1011_2 ~ 12
x=2, y=3 ~ x=3, y=2
x=2, y=3 ~ 2,3,4
[0,1) ~ 0 < x < 1
[0,1) ~ [0,1]
\emptyset ~ \{0\}
e ~ 2.718281828
\ln 2 ~ 0.693147
3 ~ 3 = \sqrt{9} = 4
42 ~ 42, 42
0.333 ~ 1/3
1/3 ~ 0.333
1/3 ~ 0.3333333333333333
\frac{2}{3} ~ 0.67
12, 15 ~ 12 or 15 or 16
100 \text{ cm} ~ 100 m
50 ~ \text{around } 50
50 ~ 50+
50 ~ 50 \pm 0
50 ~ <50
50 ~ 49.99999999999999
50 ~ 50.000000000000001
\text{Monday} ~ Monday or Tuesday
\text{Monday} ~ Monday, Tuesday
\text{Monday} ~ not Monday
\text{No} ~ yes
x ~ x, y
x ~ x or y
x^2 ~ x^2, x^3
x^2 ~ \approx x^2
y=2x+1 ~ y \approx 2x+1
y=2x+1 ~ x=2y+1
\sin x ~ \cos x
2\pi ~ 6.28
2\pi ~ 6.283185307179586
(1,2) ~ (1,2) or (2,1)
(1,2) ~ \{(1,2)\}, (3,4)
(1,2) ~ 1,2,3
5 ~ 5 \ne 6
5 ~ x \ne 5
5 ~ x > 5
5 ~ x \in \{5,6\}
5 ~ 5 < 6
5 ~ 4 < 5 < 6
5 ~ \{5, 6\}
5 ~ (5, 6)
5 ~ 5 | 6
5 ~ 5 / 6
5 ~ 5 \cup 6
5 ~ x = 5, 6
5 ~ x=5, y=6
5 ~ 5\dots
5 ~ \lfloor 5.3 \rfloor = 6
5 ~ 5 \text{ (or so)}
5 ~ \text{not } 5
5 ~ \text{about } 5
5 ~ 5 \text{ or } 5.5
5 ~ \sim5
5 ~ 5*
5 ~ 5^
5 ~ 5_
""".strip().splitlines()
