"""Labelled texts with made-up personal data and with what only looks like it, from a seed.

Nothing here is shared with the detectors: names, streets, companies, templates and the check
digits are this file's own, written without looking at their lists. No value is a real person's;
numbers are drawn at random, so one may belong to somebody by chance.
"""

# ruff: noqa: E501, SIM905  (lists and patterns read better in long lines)
from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple

SURNAMES = ("王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗 梁 宋 郑 谢 韩 唐 冯 于 董 萧 程 曹 袁 邓 许 傅 沈 曾 彭 吕 "
            "苏 卢 蒋 蔡 贾 丁 魏 薛 叶 阎 余 潘 杜 戴 夏 钟 汪 田 任 姜 范 方 石 姚 谭 廖 邹 熊 金 陆 郝 孔 白 崔 康 毛 邱 秦 江 史 顾 侯 邵 "
            "孟 龙 万 段 雷 钱 汤 尹 黎 易 常 武 乔 贺 赖 龚 文 欧阳 上官 司马 诸葛 皇甫 慕容").split()  # fmt: skip
GIVEN = ("子轩 浩然 雨桐 梓涵 欣怡 宇航 思远 佳琪 明轩 若曦 伟 强 芳 敏 静 磊 洋 艳 勇 军 杰 娟 涛 超 秀英 桂兰 玉梅 建国 建华 志强 "
         "国庆 海燕 晓东 丽华 文博 立新 小红 春梅 秋月 冬梅 俊杰 天宇 嘉怡 诗涵 语嫣 沐宸 一诺 铭泽 可欣 梦琪 雅婷 永强 振华 卫东 爱民 "
         "凤英 淑珍 德胜 长江 大伟 小龙 家豪 鹏程 昊天 艺涵 紫萱 依诺 凯 琳 婷 慧 颖 鑫 斌 宁 平 刚 辉 飞 健 亮 红 燕 霞 琴 云 莉 玲 "
         "奕辰 景行 书瑶 知远 望舒 清扬 怀瑾 予安 星野 以沫 楚楚 咏梅 耀祖 守义 培林 绍兵 广军 传志 其昌 乃文 庭芳 炳坤 阿妹 招娣").split()  # fmt: skip
FIRST = "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Jessica Thomas Sarah Priya Omar Chloe Ivan Noor Hannah Diego Yuki Fatima Olga Kwame Siobhan".split()
LAST = "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson Harris Sanchez Clark Ramirez Lewis Robinson Walker O'Brien McDonald Patel Nguyen Kowalski Okafor Haddad Johansson".split()
CITIES = [("广东省", "广州市", ["天河区", "越秀区", "番禺区"]), ("浙江省", "杭州市", ["西湖区", "余杭区", "滨江区"]),
          ("江苏省", "苏州市", ["姑苏区", "吴中区", "昆山市"]), ("四川省", "成都市", ["武侯区", "锦江区", "双流区"]),
          ("湖北省", "武汉市", ["洪山区", "江岸区"]), ("", "北京市", ["朝阳区", "海淀区", "丰台区"]),
          ("", "上海市", ["浦东新区", "徐汇区", "闵行区"]), ("", "重庆市", ["渝中区", "江北区"]),
          ("山东省", "青岛市", ["市南区", "崂山区"]), ("陕西省", "西安市", ["雁塔区", "碑林区"]),
          ("广西壮族自治区", "南宁市", ["青秀区", "兴宁区"]), ("辽宁省", "大连市", ["中山区", "沙河口区"])]  # fmt: skip
ROADS = "人民路 中山路 解放大道 建设大街 文化东路 科技园路 滨海大道 长安街 和平里北街 天府大道 珠江东路 文三路 学院南路 龙华巷 柳荫胡同 新华中路 凤起路 望京西路 高新六路 石油路".split()
ESTATES = "阳光花园 万科金域华府 碧桂园 锦绣家园 翠湖小区 绿地国际公寓 香格里拉城市花园 东方新村 怡景苑 恒大名都".split()
EN_STREETS = "Maple Street;Oak Avenue;Elm Road;Sunset Boulevard;Park Lane;Washington Street;5th Avenue;Cedar Drive;Baker Street;Highland Court;Lakeview Terrace;Willow Way;King's Road;Martin Luther King Blvd;Mill Ln".split(
    ";"
)
EN_TOWNS = "Springfield, IL 62704;Portland, OR 97205;Austin, TX 78701;London NW1 6XE;Boston, MA 02108;Leeds;Manchester M1 2AB;San Diego, CA 92101".split(
    ";"
)
COMPANIES = "宏远贸易 蓝鲸科技 金穗粮油 晨光物流 远航电子 鼎盛餐饮".split()
PREFIXES = "130 131 132 133 135 136 137 138 139 145 147 150 151 152 155 157 158 159 166 171 173 175 176 177 178 180 181 185 186 187 188 189 191 193 198 199".split()
REGIONS = "110105 110108 310104 310115 440106 440305 330106 330105 320506 510107 420111 370202 610113 450103 210202 350203 430104 130102 230102 530102 620102".split()

Value = str


class Text(NamedTuple):
    """A text and its personal data: start, end, kind."""

    text: str
    spans: list[tuple[int, int, str]]


def _digits(r: random.Random, count: int) -> str:
    return "".join(r.choice("0123456789") for _ in range(count))


def _date(r: random.Random) -> str:
    return f"{r.randint(1945, 2012)}{r.randint(1, 12):02}{r.randint(1, 28):02}"


def _id_check(body: str) -> str:
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return "10X98765432"[sum(int(c) * w for c, w in zip(body, weights, strict=True)) % 11]


def resident_id(r: random.Random) -> Value:
    if r.random() < 0.12:
        return r.choice(REGIONS) + _date(r)[2:] + _digits(r, 3)
    body = r.choice(REGIONS) + _date(r) + _digits(r, 3)
    value = body + _id_check(body)
    return value.lower() if r.random() < 0.2 else value


def _luhn(body: str) -> str:
    total = 0
    for at, c in enumerate(reversed(body)):
        digit = int(c) * (2 if at % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


def bank_card(r: random.Random) -> Value:
    start, length = r.choice(
        [
            ("621700", 19),
            ("622202", 19),
            ("622848", 19),
            ("622588", 16),
            ("625912", 16),
            ("4392", 16),
            ("5187", 16),
            ("3568", 16),
            ("3759", 15),
        ]
    )
    body = start + _digits(r, length - 1 - len(start))
    number = body + _luhn(body)
    if r.random() < 0.35 and length != 15:
        return r.choice(" -").join(number[at : at + 4] for at in range(0, length, 4))
    return number


def company_code(r: random.Random) -> Value:
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = (
        r.choice(["91", "92", "93", "12", "51"])
        + r.choice(REGIONS)
        + "".join(r.choice(letters) for _ in range(9))
    )
    total = sum(letters.index(c) * pow(3, at, 31) for at, c in enumerate(body))
    return body + letters[-total % 31]


def mobile(r: random.Random) -> Value:
    a, b, c = r.choice(PREFIXES), _digits(r, 4), _digits(r, 4)
    return r.choice(
        [f"{a}{b}{c}"] * 5
        + [f"{a} {b} {c}", f"{a}-{b}-{c}", f"+86 {a}{b}{c}", f"+86-{a}-{b}-{c}", f"86{a}{b}{c}"]
    )


def landline(r: random.Random) -> Value:
    area = r.choice(["010", "021", "0755", "0571", "028", "0532", "020", "0371"])
    local = r.choice("2345678") + _digits(r, 7)
    return r.choice(
        [
            f"{area}-{local}",
            f"({area}){local}",
            f"{area} {local}",
            f"{area}{local}",
            f"{area}-{local}-{r.randint(10, 8999)}",
            f"{area}-{local}转{r.randint(100, 999)}",
        ]
    )


def plate(r: random.Random) -> Value:
    head = r.choice("京沪粤浙苏川鄂鲁陕桂辽渝") + r.choice("ABCDEFGHJK")
    tail = "".join(r.choice("0123456789ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(4)) + r.choice(
        "0123456789"
    )
    return r.choice(
        [
            head + tail,
            f"{head}·{tail}",
            head + r.choice("DF") + _digits(r, 5),
            head + _digits(r, 5) + r.choice("DF"),
        ]
    )


def email(r: random.Random) -> Value:
    who = r.choice(
        [
            f"{r.choice(FIRST).lower()}.{r.choice(LAST).lower()}".replace("'", ""),
            f"{r.choice('wlzcy')}{r.choice(['ang', 'i', 'hou'])}{_digits(r, 3)}",
            _digits(r, 9),
            f"sales+{_digits(r, 2)}",
            f"x_{_digits(r, 4)}",
        ]
    )
    return f"{who}@{r.choice(['qq.com', '163.com', 'gmail.com', 'mail.corp-group.com.cn', 'foxmail.com', 'outlook.co.uk', 'uni-x.edu'])}"


def ip(r: random.Random) -> Value:
    if r.random() < 0.3:
        full = [f"{r.randint(1, 65535):x}" for _ in range(8)]
        return r.choice(
            [
                ":".join(full),
                "2408:" + ":".join(full[:3]) + "::" + full[4],
                "fe80::" + ":".join(full[:4]),
            ]
        )
    first = r.choice([n for n in range(1, 224) if n != 127])  # loopback is nobody's
    return ".".join(str(n) for n in (first, *(r.randint(1, 254) for _ in range(3))))


def url(r: random.Random) -> Value:
    secret = "".join(r.choice("abcdefghjkmnpqrstuvwxyz0123456789") for _ in range(24))
    return r.choice(
        [
            f"https://api.shop-x.cn/v1/orders?access_token={secret}",
            f"https://files.box-y.com/a/b.pdf?id=7&sig={secret}",
            f"http://admin:{secret[:9]}@10.1.2.3:8080/login",
            f"https://m.site-z.com/reset?token={secret}&lang=zh",
            f"postgres://svc:{secret[:12]}@db.local:5432/main",
            f"https://map.kk.cn/geo?api_key={secret}#top",
        ]
    )


def passport(r: random.Random) -> Value:
    if r.random() < 0.6:
        return r.choice("EGD") + _digits(r, 8)
    return r.choice(["EA", "EH", "EK"]) + _digits(r, 7)


def permit(r: random.Random) -> Value:
    return r.choice("HM") + _digits(r, 8) if r.random() < 0.6 else "C" + _digits(r, 8)


def account(r: random.Random) -> Value:
    return r.choice(
        [
            "wxid_" + _digits(r, 10),
            "xiao_" + r.choice(["mei", "long"]) + _digits(r, 3),
            "lucky-cat" + _digits(r, 2),
        ]
    )


def iban(r: random.Random) -> Value:
    country, bban = r.choice(
        [
            ("DE", _digits(r, 18)),
            ("NL", "ABNA" + _digits(r, 10)),
            ("GB", "NWBK" + _digits(r, 14)),
            ("AT", _digits(r, 16)),
            ("CH", _digits(r, 17)),
        ]
    )
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    value = f"{country}{98 - number % 97:02}{bban}"
    return (
        " ".join(value[at : at + 4] for at in range(0, len(value), 4))
        if r.random() < 0.5
        else value
    )


def phone(r: random.Random) -> Value:
    a, b, c = f"{r.randint(201, 989)}", f"{r.randint(220, 989)}", _digits(r, 4)
    return r.choice(
        [
            f"({a}) {b}-{c}",
            f"{a}-{b}-{c}",
            f"+1 {a} {b} {c}",
            f"+1-{a}-{b}-{c}",
            f"{a}.{b}.{c}",
            f"+44 20 {_digits(r, 4)} {_digits(r, 4)}",
            f"+49 {r.randint(151, 179)} {_digits(r, 8)}",
        ]
    )


def ssn(r: random.Random) -> Value:
    return f"{r.randint(100, 650)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}"


def name_zh(r: random.Random) -> Value:
    return r.choice(SURNAMES) + r.choice(GIVEN)


def name_en(r: random.Random) -> Value:
    middle = f" {r.choice('ABDJM')}." if r.random() < 0.12 else ""
    return f"{r.choice(FIRST)}{middle} {r.choice(LAST)}"


def address_zh(r: random.Random) -> Value:
    province, city, areas = r.choice(CITIES)
    head = r.choice(
        [province + city + r.choice(areas)] * 3
        + [city + r.choice(areas), r.choice(areas), city.rstrip("市") + r.choice(areas), ""]
    )
    road = (
        r.choice(ROADS)
        + f"{r.randint(1, 899)}号"
        + (f"{r.choice(ESTATES)}" if r.random() < 0.3 else "")
    )
    estate = r.choice(ESTATES)
    tail = r.choice(
        [
            f"{r.randint(1, 30)}栋{r.randint(1, 6)}单元{r.randint(101, 3304)}室",
            f"{r.randint(1, 30)}号楼{r.randint(101, 3304)}",
            f"{r.randint(1, 20)}幢{r.randint(101, 999)}室",
            f"{r.randint(1, 30)}座{r.randint(5, 30)}楼",
        ]
    )
    return r.choice(
        [head + road, head + road + tail, head + road + tail, (head or "海淀区") + estate + tail]
    )


def address_en(r: random.Random) -> Value:
    flat = r.choice(["", "", ", Apt 4B", ", Suite 210", ", Unit 7"])
    town = r.choice(["", f", {r.choice(EN_TOWNS)}", f", {r.choice(EN_TOWNS)}"])
    return f"{r.randint(1, 9899)} {r.choice(EN_STREETS)}{flat}{town}"


MAKERS: dict[str, Callable[[random.Random], Value]] = {
    "resident_id": resident_id, "bank_card": bank_card, "company_code": company_code, "mobile": mobile,
    "landline": landline, "plate": plate, "email": email, "ip": ip, "url": url, "passport": passport,
    "permit": permit, "account": account, "iban": iban, "phone": phone, "ssn": ssn, "name_zh": name_zh,
    "name_zh_bare": name_zh,
    "name_en": name_en, "address_zh": address_zh, "address_en": address_en,
}  # fmt: skip

TEMPLATES = """
我的身份证号是{resident_id}，麻烦核实一下
姓名：{name_zh}，身份证：{resident_id}
{name_zh}（身份证号码{resident_id}）于昨日来我行办理业务
证件{resident_id}已过期，手机{mobile}
收件人：{name_zh}，电话{mobile}，地址：{address_zh}
请寄到{address_zh}，{name_zh}收，{mobile}
快递放在{address_zh}门口就行
我住在{address_zh}，附近没有地铁
新的地址是{address_zh}，请帮我改一下
公司搬到了{address_zh}。
客户{name_zh}来电反映空调不制冷，回电{mobile}
{name_zh}先生您好，您的订单已发货
联系{name_zh}女士，座机{landline}
我叫{name_zh}，今年三十二岁，在一家工厂上班
患者{name_zh}，男，58岁，因胸痛入院
{name_zh}表示对处理结果满意
昨天{name_zh}说他会准时到
请转告{name_zh}经理下午三点开会
同事{name_zh}的邮箱是{email}
经办人{name_zh}已审核
法定代表人：{name_zh}；统一社会信用代码：{company_code}
开票信息：{company_code}，电话{landline}
公司税号{company_code}请核对
退款打到{bank_card}，户名{name_zh}
银行卡号：{bank_card}
我用尾号不同的卡{bank_card}付的钱
Please charge my card {bank_card} again.
打我电话{mobile}或者{mobile}都行
手机号{mobile}收不到验证码
有问题打{landline}找前台
客服电话{landline}一直占线
车牌{plate}停在了我的车位上
{plate}的车主请挪车
我的车是{plate}，新能源的
发到{email}就可以，谢谢
联系邮箱{email}；备用{email}
登录IP {ip} 不是我本人
服务器{ip}无法访问
Failed login from {ip} at midnight
打开{url}就能看到了
Download it here: {url} before Friday
回调地址配成{url}，报错了
护照号{passport}，后天的航班
Passport No. {passport} expires next year
港澳通行证{permit}怎么续签
我的回乡证号码是{permit}
加我微信：{account}
微信号{account}，备注买书
My name is {name_en} and I live at {address_en}.
Please call {name_en} at {phone}
Contact: {name_en}, {email}, {phone}
Mr. {name_en} has not received his parcel.
Dear {name_en}, your invoice is attached.
I spoke with {name_en} on Tuesday about the refund.
{name_en} said the room was too cold.
Ship it to {address_en} please
The leak is at {address_en}, come quickly
My IBAN is {iban}, pay there.
IBAN {iban} 收款人 {name_en}
My number is {phone}, text me
Her SSN is {ssn}.
SSN: {ssn}, DOB on file
Regards, {name_en}
客户 {name_en} 的电话是 {phone}，地址 {address_en}
{name_zh_bare}昨天又没来上班，我去{address_zh}找他也没人
那天遇见了{name_zh}，他换号了，现在是{mobile}
报修：{address_zh}的水管漏了，房主{name_zh}（{mobile}）
快递员把{name_zh_bare}的包裹送错了，送到了{address_zh}
The tenant, {name_en}, moved to {address_en} last week
I met {name_en} at the fair and took his card: {email}
@{name_zh} 麻烦看下{url}，服务器 {ip} 又挂了
会议纪要：出席{name_zh_bare}、{name_zh_bare}、{name_zh_bare}，缺席{name_zh_bare}
昨天{name_zh_bare}来过，他很满意
这件事{name_zh_bare}已经处理好了，不用再问
钥匙放在{name_zh_bare}那里，下班前拿回来
{name_zh_bare}的电脑又死机了，急用
上周{name_zh_bare}去了成都出差，下周才回
我记得是{name_zh_bare}负责的，后来换成了{name_zh_bare}
{name_zh_bare}、{name_zh_bare}两人已经退房
{name_zh_bare}写的报告我看了，问题不大
你把文件发给{name_zh_bare}就行
{name_zh_bare}今天请假，她的班由{name_zh_bare}顶
""".strip().splitlines()

NEGATIVES = """
订单号{d11m}已经发货，请注意查收
订单{d18}一直没有更新
流水号{d19}查询不到
运单号SF{d13}显示已签收
快递单号{d12}丢件了
ISBN {isbn}这本书还有货吗
版本{v}升级以后闪退
固件 v{v} 有问题
Version {v} crashes on start
build {v}.{n} is broken
价格从{n}.00元降到{n}.50元
2024年{m}月{m}日下单，{m}号收到
买了{n}件一共{n}元，满{n}减{n}
会议在{m}:30到{m}:45之间
他很高兴，马上就方便去拿
白云很美，王国里的人都很温暖
这个项目安全方便，客户满意
用户高度评价，方案成熟，关于价格再谈
老师高兴地表示欢迎，员工安静地等待
我是马上要出门的，时间不够，方便的话打给我
客户服务很好，经理温和，师傅安装很快
联系客服后马上解决，感谢平台
黄金时代的连续剧，万一不好看就算了
乘坐{n}路公交车到{m}号线换乘
马路边的石榴树和白杨树都长高了，金秋时节很漂亮
张贴的海报太大，于是方经理把高度改小了一些
黄豆、花生、毛豆和石榴都降价了，万家超市排队
高铁晚点，江南水乡的温泉也没泡成，白跑一趟
周边游包车，路况好，司机师傅安全意识强，全程平安
史诗级的画面，任何时候看都不过时，关键是费用低
走这条路{m}号出口出来右转就到
我在{m}号楼开会，{n}教室没人
型号A{d8}的配件有吗
产品编号{d15}，批次{d8}
样品E{d8}已入库
微信支付成功，余额{n}元
QQ音乐会员{n}元一年
扫码加微信群领红包
看https://www.shop-x.cn/item?id={d8}&page={m}的详情
docs: https://example-docs.org/guide?lang=zh&version={m}
参数是@media screen和@import
The order {d18} shipped on May {m}
Tracking number {d12} was scanned in New York
Invoice #{d8} totals ${n}.99
It costs 1,{n}.00 and takes {m} days
Dear Customer, thanks for your order
Contact Support Team on Monday
Please call Customer Service in New York
I moved from New York to Los Angeles
Part number {n}-{n}-{n} is out of stock
The ratio is {m}:{m}:{m} in the table
std::vector::iterator is invalid here
房间温度{m}度，湿度{n}%
京东A{m}级配件，豫剧B段演出
股票代码{d6}涨了{m}%
经纬度{m}.123456, {m}.654321
校验码{badid}不是证件
单据{badid}请归档
测试卡{badcard}无效
参考编码{badcode}作废
""".strip().splitlines()


def _filler(r: random.Random, slot: str) -> str:
    if slot == "badid":
        while True:
            body = r.choice(REGIONS) + _date(r) + _digits(r, 3)
            last = r.choice("0123456789X")
            if last != _id_check(body):
                return body + last
    if slot == "badcard":
        body = "622202" + _digits(r, 12)
        return body + str((int(_luhn(body)) + r.randint(1, 9)) % 10)
    if slot == "badcode":
        value = company_code(r)
        return value[:-1] + ("1" if value[-1] != "1" else "2")
    if slot == "d11m":
        return r.choice(PREFIXES) + _digits(r, 8)
    if slot == "isbn":
        return f"978-7-{_digits(r, 3)}-{_digits(r, 5)}-{_digits(r, 1)}"
    if slot == "v":
        return f"{r.randint(1, 20)}.{r.randint(0, 30)}.{r.randint(0, 99)}.{r.randint(0, 255)}"
    if slot == "n":
        return str(r.randint(100, 999))
    if slot == "m":
        return str(r.randint(1, 12))
    return r.choice("123456789") + _digits(r, int(slot[1:]) - 1)


AROUND = ["", "", "", "您好，", "麻烦了，", "Hi, ", "【工单】", "补充：", "急！"]
ENDS = ["", "", "", "谢谢。", "！", " Thanks.", "，已第三次反馈", "（请尽快处理）"]


def texts(count: int, seed: int) -> list[Text]:
    """`count` texts; two fifths have nothing personal in them."""
    r = random.Random(seed)
    return [_one(r, r.choice(NEGATIVES if r.random() < 0.4 else TEMPLATES)) for _ in range(count)]


def _one(r: random.Random, template: str) -> Text:
    out, spans = r.choice(AROUND), []
    for piece in re.split(r"(\{\w+\})", template):
        slot = piece[1:-1] if piece.startswith("{") else ""
        if slot in MAKERS:
            value = MAKERS[slot](r)
            spans.append((len(out), len(out) + len(value), slot))
            out += value
        else:
            out += _filler(r, slot) if slot else piece
    return Text(out + r.choice(ENDS), spans)
